/** Pure steps between the statistics that the farm answers and what the page shows. */

import type { CalendarDay, Difference, Reconciliation, Statistics, StatisticsGroup } from "../api/types"
import { formatMoney, formatProfit, toneOf, type Tone } from "./format"

export type Span = "all" | "year" | "quarter" | "month"

/** What the reader has chosen to look at; an empty symbol is all of them. */
export interface Choice {
  span: Span
  symbol: string
}

const DAYS: Record<Exclude<Span, "all">, number> = { year: 365, quarter: 91, month: 30 }

/** The first day of a span that ends today, `YYYY-MM-DD`; null for the whole history. */
export function firstDay(span: Span, now: Date): string | null {
  if (span === "all") return null
  return new Date(now.getTime() - DAYS[span] * 86_400_000).toISOString().slice(0, 10)
}

export function statisticsQuery(choice: Choice, now: Date): { since?: string; symbol?: string } {
  const since = firstDay(choice.span, now)
  return { ...(since ? { since } : {}), ...(choice.symbol ? { symbol: choice.symbol } : {}) }
}

export type ExportName = "deals" | "history-orders" | "positions" | "statistics"

/** Where the browser gets a file for spreadsheets. Days of the statistics are the broker's; deals go by symbol. */
export function exportAddress(accountId: string, name: ExportName, choice: Choice, now: Date): string {
  const query = new URLSearchParams(name === "statistics" ? statisticsQuery(choice, now) : {})
  if (choice.symbol && (name === "deals" || name === "history-orders")) query.set("symbol", choice.symbol)
  const text = query.toString()
  return `/api/v1/accounts/${encodeURIComponent(accountId)}/exports/${name}${text ? `?${text}` : ""}`
}

/** `0.1234` -> `+12.34 %`; a share of nothing known is a dash. */
export function formatShare(share: number | null | undefined, signed = false): string {
  if (share == null || !Number.isFinite(share)) return "–"
  const text = (Math.abs(share) * 100).toFixed(2)
  const isZero = Number(text) === 0
  const sign = isZero ? "" : share < 0 ? "\u2212" : signed ? "+" : ""
  return `${sign}${text} %`
}

export function formatRatio(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) ? "–" : value.toFixed(2).replace("-", "\u2212")
}

/** How long trades were held: `45 s`, `12 min`, `3.5 h`, `2.0 d`. */
export function formatHeld(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return "–"
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  if (seconds < 86_400) return `${(seconds / 3600).toFixed(1)} h`
  return `${(seconds / 86_400).toFixed(1)} d`
}

export interface Figure {
  label: string
  value: string
  tone: Tone
}

const plain = (label: string, value: string): Figure => ({ label, value, tone: "flat" })
const money = (label: string, value: string | null): Figure => ({
  label,
  value: value == null ? "–" : formatProfit(value),
  tone: toneOf(value),
})

/** The most telling figures first. Those of the whole account only where they have a meaning. */
export function keyFigures({ trades, account }: Statistics): Figure[] {
  const gain = account?.gain
  const whole: Figure[] = account
    ? [
        { label: "Gain", value: formatShare(gain, true), tone: !gain ? "flat" : gain > 0 ? "up" : "down" },
        plain("Drawdown", formatShare(account.relative_drawdown?.depth ?? 0)),
        plain("Drawdown of equity", formatShare(account.equity_drawdown?.depth)),
      ]
    : []
  const ratios: Figure[] = account
    ? [
        plain("Sharpe", formatRatio(account.sharpe)),
        plain("Sortino", formatRatio(account.sortino)),
        plain("Calmar", formatRatio(account.calmar)),
        plain("Deposits", formatMoney(account.deposits)),
        plain("Withdrawals", formatMoney(account.withdrawals)),
      ]
    : []
  return [
    ...whole,
    money("Net result", trades.net),
    plain("Trades", String(trades.trades)),
    plain("Win rate", formatShare(trades.win_rate)),
    plain("Profit factor", formatRatio(trades.profit_factor)),
    money("Expectancy", trades.expectancy),
    money("Average win", trades.average_win),
    money("Average loss", trades.average_loss),
    money("Largest win", trades.largest_win),
    money("Largest loss", trades.largest_loss),
    plain("Wins in a row", String(trades.longest_wins.length)),
    plain("Losses in a row", String(trades.longest_losses.length)),
    plain("SQN", formatRatio(trades.sqn)),
    ...ratios,
    plain("Held on average", formatHeld(trades.average_held_seconds)),
    plain("Lots", trades.volume.toFixed(2)),
  ]
}

export interface BreakdownBar {
  key: string
  net: string
  note: string
  /** Length by the largest of all, 0 to 100. */
  width: number
  tone: Tone
}

export function breakdownBars(groups: StatisticsGroup[]): BreakdownBar[] {
  const most = Math.max(0, ...groups.map((group) => Math.abs(Number(group.net))))
  return groups.map((group) => ({
    key: group.key,
    net: formatProfit(group.net),
    note: `${group.trades} ${group.trades === 1 ? "trade" : "trades"}, ${formatShare(group.trades ? group.wins / group.trades : 0)} won`,
    width: most ? (Math.abs(Number(group.net)) / most) * 100 : 0,
    tone: toneOf(group.net),
  }))
}

export interface DayCell {
  day: number
  known: CalendarDay | null
}

/** Weeks of a month from Monday to Sunday; null before the first and after the last day. */
export function monthGrid(month: string, days: CalendarDay[]): (DayCell | null)[][] {
  const first = new Date(`${month}-01T00:00:00Z`)
  const count = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate()
  const known = new Map(days.map((day) => [Number(day.day.slice(8)), day]))
  const cells: (DayCell | null)[] = Array.from({ length: (first.getUTCDay() + 6) % 7 }, () => null)
  for (let day = 1; day <= count; day++) cells.push({ day, known: known.get(day) ?? null })
  while (cells.length % 7) cells.push(null)
  return Array.from({ length: cells.length / 7 }, (_, week) => cells.slice(week * 7, week * 7 + 7))
}

/** `2026-01` moved by so many months. */
export function shiftMonth(month: string, by: number): string {
  const [year = 1970, number = 1] = month.split("-").map(Number)
  return new Date(Date.UTC(year, number - 1 + by, 1)).toISOString().slice(0, 7)
}

/** `2026-01` -> `January 2026`. */
export function monthName(month: string): string {
  return new Date(`${month}-01T00:00:00Z`).toLocaleString("en-GB", { month: "long", year: "numeric", timeZone: "UTC" })
}

/** The state of the comparison in a trader's words. */
export function booksWords(state: Reconciliation): string {
  switch (state.state) {
    case "never":
      return "Not compared yet. It begins when the terminal is ready."
    case "waiting":
      return "Waiting for the terminal."
    case "checking":
      return "Something differs. A second look in half a minute tells whether it lasts."
    case "failed":
      return `The last look came to nothing: ${state.problem}`
    default:
      return state.open_differences
        ? `${state.open_differences} ${state.open_differences === 1 ? "difference is" : "differences are"} open.`
        : `The log agrees with the broker: ${state.deals} deals, ${state.orders} orders.`
  }
}

export function differenceTone(difference: Difference): Tone {
  return difference.state === "open" ? "down" : difference.state === "healed" ? "up" : "flat"
}
