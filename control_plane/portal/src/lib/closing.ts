/** What closing many positions would do, in words, before it is done. */

import type { Position } from "../api/types"
import { addMoney, formatProfit, formatVolume, toneOf } from "./format"

export type Which = "all" | "profitable" | "losing"

export const WHICH: readonly { value: Which; label: string }[] = [
  { value: "all", label: "All positions" },
  { value: "profitable", label: "Those in profit" },
  { value: "losing", label: "Those in loss" },
]

/** The positions that are meant now. The farm looks again when it closes them, since prices move. */
export function chosen(positions: readonly Position[], which: Which, symbol: string): Position[] {
  const tone = { all: null, profitable: "up", losing: "down" }[which]
  return positions.filter((each) => (symbol === "" || each.symbol === symbol) && (tone === null || toneOf(each.profit) === tone))
}

export function closingText(positions: readonly Position[]): string {
  if (positions.length === 0) return "There is none of these at the moment."
  const lots = positions.reduce((sum, each) => sum + each.volume, 0)
  const profit = addMoney("0.00", ...positions.map((each) => each.profit))
  const count = positions.length === 1 ? "1 position" : `${positions.length} positions`
  return `${count} with ${formatVolume(lots)} lots in all, now at ${formatProfit(profit)}, are closed one after another at the market price of that moment.`
}

/** Positions of the same symbol on the other side. */
export const opposites = (position: Position, all: readonly Position[]): Position[] =>
  all.filter((each) => each.symbol === position.symbol && each.side !== position.side)

/** What is left of two positions that close each other. */
export function closeByText(position: Position, other: Position): string {
  const left = position.volume - other.volume
  const both = `${formatVolume(Math.min(position.volume, other.volume))} lots of both are closed against each other, without paying the spread again.`
  if (Math.abs(left) < 1e-9) return `${both} Nothing is left of either.`
  return `${both} ${formatVolume(Math.abs(left))} lots of the ${left > 0 ? position.side : other.side} stay open.`
}
