/** What can be said about an order before it is sent. The control plane and the broker judge again. */

import type { Side, SymbolInfo } from "../api/types"
import { formatPrice, formatVolume } from "./format"

const SCALE = 1e8

/** Lots as whole 1e-8 units: `0.3 / 0.1` is not 3 in floating point, `30000000 / 10000000` is. */
const units = (lots: number): number => Math.round(lots * SCALE)

export type VolumeRules = Pick<SymbolInfo, "volume_min" | "volume_max" | "volume_step">
export type StopRules = Pick<SymbolInfo, "bid" | "ask" | "point" | "digits" | "stops_level">

/** Number that was typed, with a comma or a point; null when it is none. */
export function parseNumber(text: string): number | null {
  const cleaned = text.trim().replace(",", ".")
  return /^\d+(\.\d*)?$|^\.\d+$/.test(cleaned) ? Number(cleaned) : null
}

/** A sentence when the volume (lots) cannot be right, else null. */
export function volumeProblem(text: string, rules: VolumeRules): string | null {
  const lots = parseNumber(text)
  if (lots === null || lots <= 0) return "Enter a volume in lots, for example " + formatVolume(rules.volume_min) + "."
  if (units(lots) < units(rules.volume_min)) return `The smallest volume is ${formatVolume(rules.volume_min)} lots.`
  if (units(lots) > units(rules.volume_max)) return `The largest volume is ${formatVolume(rules.volume_max)} lots.`
  if (units(lots) % units(rules.volume_step) !== 0) return `The volume moves in steps of ${formatVolume(rules.volume_step)} lots.`
  return null
}

/** The next volume on the broker's step, up (1) or down (-1), kept inside the limits. */
export function stepVolume(text: string, direction: 1 | -1, rules: VolumeRules): string {
  const step = units(rules.volume_step)
  const current = units(parseNumber(text) ?? 0)
  const steps = direction === 1 ? Math.floor(current / step) + 1 : Math.ceil(current / step) - 1
  const bounded = Math.min(Math.max(steps * step, units(rules.volume_min)), units(rules.volume_max))
  return formatVolume(bounded / SCALE)
}

export interface StopProblems {
  stopLoss: string | null
  takeProfit: string | null
}

/**
 * Stops on the wrong side of the market, or nearer than the broker's stops level. A buy is closed at the bid, a sell at the
 * ask, so that is the price they are measured from. Empty text means no stop.
 */
export function stopProblems(side: Side, stopLoss: string, takeProfit: string, rules: StopRules): StopProblems {
  const closing = side === "buy" ? rules.bid : rules.ask
  const gap = rules.stops_level * rules.point
  const tolerance = rules.point / 2
  const price = (value: number): string => formatPrice(value, rules.digits)

  const judge = (text: string, below: boolean, name: string): string | null => {
    if (text.trim() === "") return null
    const value = parseNumber(text)
    if (value === null || value <= 0) return "Enter a price, or leave it empty."
    const limit = below ? closing - gap : closing + gap
    if (below && value > limit + tolerance) return `For a ${side}, the ${name} must be at ${price(limit)} or lower.`
    if (!below && value < limit - tolerance) return `For a ${side}, the ${name} must be at ${price(limit)} or higher.`
    return null
  }
  return {
    stopLoss: judge(stopLoss, side === "buy", "stop loss"),
    takeProfit: judge(takeProfit, side === "sell", "take profit"),
  }
}

export type OrderType = "market" | "limit" | "stop" | "stop_limit"
export type Expiration = "gtc" | "day" | "specified" | "specified_day"
export type StopUnit = "price" | "points"

const TYPE_BITS: readonly [OrderType, string, number][] = [
  ["market", "Market", 1],
  ["limit", "Limit", 2],
  ["stop", "Stop", 4],
  ["stop_limit", "Stop limit", 8],
]
const EXPIRATION_BITS: readonly [Expiration, string, number][] = [
  ["gtc", "Until cancelled", 1],
  ["day", "Today", 2],
  ["specified", "Until a time", 4],
  ["specified_day", "Until the end of a day", 8],
]

const allowed = <Name extends string>(bits: readonly [Name, string, number][], mode: number) =>
  bits.filter(([, , bit]) => mode & bit).map(([value, label]) => ({ value, label }))

/** What the symbol takes, as options of a select. */
export const typesOf = (mode: number) => allowed(TYPE_BITS, mode)
export const expirationsOf = (mode: number) => allowed(EXPIRATION_BITS, mode)

export const needsEnd = (expiration: Expiration): boolean => expiration === "specified" || expiration === "specified_day"

/** Seconds of the broker's clock for what a `datetime-local` field holds: broker time is shown as it is, never shifted. */
export function brokerSeconds(field: string): number | null {
  const at = Date.parse(`${field.length === 16 ? field + ":00" : field}Z`)
  return Number.isNaN(at) ? null : Math.floor(at / 1000)
}

/** The price of a stop that was typed as a price, or as a distance in points from where the order fills or waits; null when none was typed. */
export function stopPrice(
  text: string,
  unit: StopUnit,
  away: "loss" | "profit",
  side: Side,
  from: number,
  rules: Pick<SymbolInfo, "point" | "digits">,
): number | null {
  const value = parseNumber(text)
  if (value === null || unit === "price") return value
  const direction = (side === "buy") === (away === "profit") ? 1 : -1
  return Number((from + direction * value * rules.point).toFixed(rules.digits))
}

/** What was typed into the ticket. */
export interface TicketForm {
  type: OrderType
  volume: string
  price: string
  stopLimit: string
  stopLoss: string
  takeProfit: string
  unit: StopUnit
  expiration: Expiration
  end: string
  deviation: string
}

export interface OrderWish {
  symbol: string
  side: Side
  volume: number
  type: OrderType
  expiration: Expiration
  comment: string
  price?: number
  stop_limit_price?: number
  stop_loss?: number
  take_profit?: number
  expires_broker_time?: number
  deviation?: number
}

/** The order that the form means for one side; null while a number of it cannot be read. */
export function wishOf(form: TicketForm, side: Side, symbol: SymbolInfo): OrderWish | null {
  const volume = parseNumber(form.volume)
  if (volume === null || volume <= 0) return null
  const pending = form.type !== "market"
  const expiration = pending ? form.expiration : "gtc"
  const wish: OrderWish = { symbol: symbol.name, side, volume, type: form.type, expiration, comment: "" }
  let from = side === "buy" ? symbol.ask : symbol.bid
  if (pending) {
    const price = parseNumber(form.price)
    if (!price) return null
    from = wish.price = price
  } else {
    const deviation = parseNumber(form.deviation)
    if (deviation !== null) wish.deviation = Math.round(deviation)
  }
  if (form.type === "stop_limit") {
    const inner = parseNumber(form.stopLimit)
    if (!inner) return null
    from = wish.stop_limit_price = inner
  }
  if (needsEnd(expiration)) {
    const end = brokerSeconds(form.end)
    if (end === null) return null
    wish.expires_broker_time = end
  }
  const stopLoss = stopPrice(form.stopLoss, form.unit, "loss", side, from, symbol)
  const takeProfit = stopPrice(form.takeProfit, form.unit, "profit", side, from, symbol)
  if (stopLoss) wish.stop_loss = stopLoss
  if (takeProfit) wish.take_profit = takeProfit
  return wish
}
