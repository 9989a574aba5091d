/** How one account follows another, between the farm's record and the form; and what it means, in plain words. */

import type { CopiedPosition, CopiedTrade, Copier, SetCopyRules } from "../api/types"
import { parseNumber } from "./orderForm"
import type { Status } from "./phase"

/** Everything as it stands in the fields; an empty slippage or drawdown means no such limit. */
export interface CopyForm {
  scaling: SetCopyRules["scaling"]
  value: string
  reverse: boolean
  symbols: string
  symbolMap: string
  mostLots: string
  mostPositions: string
  mostSlippage: string
  mostDelay: string
  copyStops: boolean
  copyOpen: boolean
  stopAfterRefusals: string
  stopAtDrawdown: string
}

/** What the farm takes when nothing is said. */
export const USUAL_RULES: SetCopyRules = {
  scaling: "multiplier",
  value: "1",
  reverse: false,
  symbols: [],
  symbol_map: {},
  most_lots: "10",
  most_positions: 20,
  most_slippage_points: null,
  most_delay_seconds: 30,
  copy_stops: true,
  copy_open: false,
  stop_after_refusals: 5,
  stop_at_drawdown_percent: 30,
}

export const SCALINGS: readonly { value: SetCopyRules["scaling"]; label: string; help: string; field: string }[] = [
  { value: "multiplier", label: "A multiple of the leader's lots", help: "1 copies the same lots, 0.5 half of them.", field: "Factor" },
  { value: "equity", label: "By the size of the accounts", help: "The leader's lots times your equity over the leader's, times this.", field: "Factor" },
  { value: "fixed", label: "The same lots each time", help: "Whatever the leader opens.", field: "Lots" },
  { value: "risk", label: "By the risk of the stop loss", help: "So many lots that the stop loss costs this share of your equity. Without one nothing is copied.", field: "Per cent" },
]

export function copyForm(rules: SetCopyRules): CopyForm {
  return {
    scaling: rules.scaling,
    value: String(rules.value),
    reverse: rules.reverse,
    symbols: rules.symbols.join(", "),
    symbolMap: Object.entries(rules.symbol_map)
      .map(([theirs, mine]) => `${theirs} = ${mine}`)
      .join("\n"),
    mostLots: String(rules.most_lots),
    mostPositions: String(rules.most_positions),
    mostSlippage: rules.most_slippage_points == null ? "" : String(rules.most_slippage_points),
    mostDelay: String(rules.most_delay_seconds),
    copyStops: rules.copy_stops,
    copyOpen: rules.copy_open,
    stopAfterRefusals: String(rules.stop_after_refusals),
    stopAtDrawdown: rules.stop_at_drawdown_percent === null ? "" : String(rules.stop_at_drawdown_percent),
  }
}

/** `EURUSD = EURUSD.a` on lines of their own; null when a line is none of these or a name comes twice. */
export function parseSymbolMap(text: string): Record<string, string> | null {
  const map: Record<string, string> = {}
  for (const line of text.split(/[\n,;]+/)) {
    if (line.trim() === "") continue
    const match = /^\s*(\S{1,32})\s*=\s*(\S{1,32})\s*$/.exec(line)
    if (!match?.[1] || !match[2] || match[1] in map) return null
    map[match[1]] = match[2]
  }
  return map
}

/** What cannot be right, by the name that the farm has for the field. */
export function copyProblems(form: CopyForm): Record<string, string> {
  const problems: Record<string, string> = {}
  const judge = (field: string, text: string, low: number, high: number, whole: boolean, words: string): void => {
    const value = parseNumber(text)
    if (value === null || value < low || value > high || (whole && !Number.isInteger(value))) problems[field] = words
  }
  judge("value", form.value, 0.0001, 1000, false, "More than 0 and at most 1000.")
  judge("most_lots", form.mostLots, 0.0001, 10_000, false, "More than 0 and at most 10000 lots.")
  judge("most_positions", form.mostPositions, 1, 500, true, "A whole number from 1 to 500.")
  judge("most_delay_seconds", form.mostDelay, 1, 3600, true, "Whole seconds, from 1 to 3600.")
  judge("stop_after_refusals", form.stopAfterRefusals, 1, 100, true, "A whole number from 1 to 100.")
  if (form.mostSlippage.trim()) judge("most_slippage_points", form.mostSlippage, 0, 100_000, true, "Whole points, or nothing.")
  if (form.stopAtDrawdown.trim()) judge("stop_at_drawdown_percent", form.stopAtDrawdown, 0.0001, 100, false, "At most 100 %, or nothing.")
  if (parseSymbolMap(form.symbolMap) === null) problems["symbol_map"] = "One pair on each line, for example EURUSD = EURUSD.a"
  return problems
}

/** Of a form without problems. */
export function rulesOf(form: CopyForm): SetCopyRules {
  const decimal = (text: string): string => text.trim().replace(",", ".")
  const optional = (text: string): number | null => (text.trim() === "" ? null : parseNumber(text))
  return {
    scaling: form.scaling,
    value: decimal(form.value),
    reverse: form.reverse,
    symbols: form.symbols.split(/[\s,;]+/).filter((name) => name !== ""),
    symbol_map: parseSymbolMap(form.symbolMap) ?? {},
    most_lots: decimal(form.mostLots),
    most_positions: Number(form.mostPositions),
    most_slippage_points: optional(form.mostSlippage),
    most_delay_seconds: Number(form.mostDelay),
    copy_stops: form.copyStops,
    copy_open: form.copyOpen,
    stop_after_refusals: Number(form.stopAfterRefusals),
    stop_at_drawdown_percent: optional(form.stopAtDrawdown),
  }
}

/** The rules in short sentences, what matters most first. */
export function copyWords(rules: SetCopyRules): string[] {
  const size = {
    multiplier: `${plain(rules.value)} × the leader's lots`,
    equity: `By the size of the accounts × ${plain(rules.value)}`,
    fixed: `${plain(rules.value)} lots each time`,
    risk: `${plain(rules.value)} % of equity at risk each time`,
  }[rules.scaling]
  const words = [rules.reverse ? `${size}, the other way round` : size]
  words.push(`at most ${plain(rules.most_lots)} lots and ${rules.most_positions} positions`)
  if (rules.symbols.length) words.push(`only ${rules.symbols.join(", ")}`)
  const renamed = Object.keys(rules.symbol_map).length
  if (renamed) words.push(`${renamed} ${renamed === 1 ? "symbol" : "symbols"} under another name`)
  if (rules.most_slippage_points != null) words.push(`at most ${rules.most_slippage_points} points of slippage`)
  words.push(`not later than ${rules.most_delay_seconds} s`)
  if (!rules.copy_stops) words.push("without stops")
  if (rules.stop_at_drawdown_percent !== null) words.push(`ends at ${rules.stop_at_drawdown_percent} % drawdown`)
  return words
}

/** Money and lots come as decimals with zeros at their end. */
const plain = (value: number | string): string => String(Number(value))

export function copierStatus(copier: Pick<Copier, "state" | "started" | "reason">): Status {
  if (copier.state === "paused") return { label: "Paused", tone: "warn" }
  if (copier.state === "stopped") return copier.reason ? { label: "Stopped by the farm", tone: "bad" } : { label: "Ended", tone: "idle" }
  return copier.started ? { label: "Copying", tone: "ok" } : { label: "Looking at the leader", tone: "busy" }
}

/** `340 ms`, `2.1 s`. */
export function lagText(milliseconds: number | null): string {
  if (milliseconds === null) return "–"
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}

/** Points that a fill was worse (above 0) or better than the leader's. */
export function slippageText(points: number | null): string {
  if (points === null) return "–"
  const text = String(Math.abs(Math.round(points * 10) / 10))
  return points > 0 ? `${text} worse` : points < 0 ? `${text} better` : "0"
}

export interface CopyProblem {
  at: string
  text: string
}

/** What is left out because the follower has it so; the farm says it in these words. */
const AS_WISHED: ReadonlySet<string> = new Set(["It was open before copying began.", "Its symbol is not among those to copy."])

/** The newest thing that was not copied although it should have been; null when there is none. */
export function lastProblem(trades: readonly CopiedTrade[], positions: readonly CopiedPosition[]): CopyProblem | null {
  const refused = trades
    .filter((each) => each.state === "refused" || each.state === "not_executed")
    .map((each) => ({ at: each.settled_at ?? each.created_at, text: `${each.symbol}: ${each.message || "The order was not executed."}` }))
  const ignored = positions
    .filter((each) => each.state === "ignored" && !AS_WISHED.has(each.note))
    .map((each) => ({ at: each.changed_at, text: `${each.symbol} not copied: ${each.note}` }))
  return [...refused, ...ignored].sort((one, other) => other.at.localeCompare(one.at))[0] ?? null
}
