/** The limits of an account between the farm's record and the form; and what they mean, in plain words. */

import type { Guard, Limits } from "../api/types"
import { clock, minutes } from "./clock"
import { formatMoney } from "./format"

export type Unit = "percent" | "money"

/** Everything as it stands in the fields: empty means no limit. */
export interface LimitsForm {
  maxVolume: string
  maxOpenVolume: string
  maxPositions: string
  maxOrders: string
  maxSymbols: string
  ordersPerMinute: string
  symbols: string
  dailyLoss: string
  dailyUnit: Unit
  dailyBase: "balance" | "equity" | "higher"
  dailyReset: string
  drawdown: string
  drawdownUnit: Unit
  drawdownKind: "static" | "trailing"
  equityFloor: string
  hoursFrom: string
  hoursTo: string
  onBreach: "stop_opening" | "close_all"
}

const WORKDAYS = [0, 1, 2, 3, 4] as const

export function toForm(limits: Limits): LimitsForm {
  const number = (value: number | string | null | undefined): string => (value == null ? "" : String(value))
  const week = sameEachWorkday(limits)
  return {
    maxVolume: number(limits.max_volume),
    maxOpenVolume: number(limits.max_open_volume),
    maxPositions: number(limits.max_positions),
    maxOrders: number(limits.max_orders),
    maxSymbols: number(limits.max_symbols),
    ordersPerMinute: number(limits.orders_per_minute),
    symbols: (limits.symbols ?? []).join(", "),
    dailyLoss: number(limits.daily_loss?.value),
    dailyUnit: limits.daily_loss?.unit ?? "percent",
    dailyBase: limits.daily_loss?.base ?? "higher",
    dailyReset: clock(limits.daily_loss?.reset_minute ?? 0),
    drawdown: number(limits.drawdown?.value),
    drawdownUnit: limits.drawdown?.unit ?? "percent",
    drawdownKind: limits.drawdown?.kind ?? "static",
    equityFloor: number(limits.equity_floor),
    hoursFrom: week ? clock(week.from) : "",
    hoursTo: week ? clock(week.to) : "",
    onBreach: limits.on_breach ?? "stop_opening",
  }
}

/** What the form has no field for (pauses, hours that differ by day, the start of a drawdown) is kept from `before`. */
export function fromForm(form: LimitsForm, before: Limits): Limits {
  const count = (text: string): number | null => (text.trim() === "" ? null : Number(text))
  const amount = (text: string): string | null => (text.trim() === "" ? null : text.trim().replace(",", "."))
  const symbols = form.symbols.split(/[\s,;]+/).filter((name) => name !== "")
  const loss = amount(form.dailyLoss)
  const drawdown = amount(form.drawdown)
  const week = sameEachWorkday(before)
  const untouched = form.hoursFrom === (week ? clock(week.from) : "") && form.hoursTo === (week ? clock(week.to) : "")
  return {
    ...before,
    max_volume: amount(form.maxVolume),
    max_open_volume: amount(form.maxOpenVolume),
    max_positions: count(form.maxPositions),
    max_orders: count(form.maxOrders),
    max_symbols: count(form.maxSymbols),
    orders_per_minute: count(form.ordersPerMinute),
    symbols: symbols.length ? symbols : null,
    daily_loss: loss === null ? null : { unit: form.dailyUnit, value: loss, base: form.dailyBase, reset_minute: minutes(form.dailyReset) ?? 0 },
    drawdown:
      drawdown === null ? null : { unit: form.drawdownUnit, value: drawdown, kind: form.drawdownKind, start: before.drawdown?.start ?? null },
    equity_floor: amount(form.equityFloor),
    hours: untouched ? (before.hours ?? null) : workdays(form.hoursFrom, form.hoursTo),
    on_breach: form.onBreach,
  }
}

function sameEachWorkday(limits: Limits): { from: number; to: number } | null {
  const hours = limits.hours ?? []
  const first = hours[0]
  if (!first || hours.length !== WORKDAYS.length) return null
  const same = WORKDAYS.every((day) =>
    hours.some((each) => each.day === day && each.start_minute === first.start_minute && each.end_minute === first.end_minute),
  )
  return same ? { from: first.start_minute, to: first.end_minute } : null
}

function workdays(from: string, to: string): Limits["hours"] {
  const start = minutes(from)
  const end = minutes(to)
  if (start === null && end === null) return null
  return WORKDAYS.map((day) => ({ day, start_minute: start ?? 0, end_minute: end || 1440 }))
}

export const SWITCH_NAMES: Record<Guard["used"][number]["switch"], string> = {
  daily_loss: "Loss today",
  drawdown: "Drawdown",
  equity_floor: "Way to the floor",
}

/** One sentence for each limit: what happens when. */
export function plainWords(limits: Limits): string[] {
  const words: string[] = []
  const end = limits.on_breach === "close_all" ? "everything is closed and the terminal stops" : "nothing more is opened"
  const size = (rule: { unit: Unit; value: string | number }): string =>
    rule.unit === "percent" ? `${rule.value} %` : formatMoney(String(rule.value))
  if (limits.daily_loss) words.push(`A day that loses ${size(limits.daily_loss)}: ${end}, until you re-arm.`)
  if (limits.drawdown) {
    const from = limits.drawdown.kind === "trailing" ? "from the highest equity" : "from the start"
    words.push(`A loss of ${size(limits.drawdown)} ${from}: ${end}, until you re-arm.`)
  }
  if (limits.equity_floor != null) words.push(`Equity at ${formatMoney(String(limits.equity_floor))} or below: ${end}, until you re-arm.`)
  if (limits.max_volume != null) words.push(`No order above ${limits.max_volume} lots.`)
  if (limits.max_open_volume != null) words.push(`No more than ${limits.max_open_volume} lots open or waiting.`)
  if (limits.max_positions != null) words.push(`No more than ${limits.max_positions} positions, waiting orders counted.`)
  if (limits.max_orders != null) words.push(`No more than ${limits.max_orders} waiting orders.`)
  if (limits.max_symbols != null) words.push(`No more than ${limits.max_symbols} different symbols at a time.`)
  if (limits.orders_per_minute != null) words.push(`No more than ${limits.orders_per_minute} new orders a minute.`)
  if (limits.symbols) words.push(`Only ${limits.symbols.join(", ") || "nothing"} may be opened.`)
  if (limits.hours) words.push("Positions are opened only in the trading hours, by the broker's clock.")
  if (limits.pauses?.length) words.push(`${limits.pauses.length} pauses for news.`)
  return words
}
