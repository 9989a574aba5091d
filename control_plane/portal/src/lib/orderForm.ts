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
