/** Pure steps between what the farm answers and what the charts draw. */

import type { Bar, Deal, EquityPoint, PaperDeal, StatisticsPoint } from "../api/types"
import { formatProfit, addMoney } from "./format"

/**
 * Known bars with newer ones laid over them. Null when the newer ones do not reach back to the known end: bars would be
 * missing in between, so that all have to be read again.
 */
export function mergeBars(known: Bar[], newer: Bar[], limit: number): Bar[] | null {
  const last = known.at(-1)
  const first = newer[0]
  if (!last || !first || first.time > last.time) return null
  return [...known.filter((bar) => bar.time < first.time), ...newer].slice(-limit)
}

export interface TradeMarker {
  time: number
  side: "buy" | "sell"
  kind: "entry" | "exit"
  text: string
}

/** Deals of one symbol, each put on the bar that was open then; deals outside of the bars are left out. Oldest first. */
export function tradeMarkers(deals: Deal[], symbol: string, bars: Bar[], withText: boolean): TradeMarker[] {
  const first = bars[0]
  if (!first) return []
  const times = bars.map((bar) => bar.time)
  const markers: TradeMarker[] = []
  for (const deal of deals) {
    if (deal.symbol !== symbol || (deal.type !== "buy" && deal.type !== "sell")) continue
    const seconds = Math.floor(deal.broker_time_msc / 1000)
    if (seconds < first.time) continue
    const kind = deal.entry === "in" ? "entry" : "exit"
    const text = kind === "entry" ? (deal.type === "buy" ? "Buy" : "Sell") : formatProfit(dealNet(deal))
    markers.push({ time: barAt(times, seconds), side: deal.type, kind, text: withText ? text : "" })
  }
  return markers.sort((a, b) => a.time - b.time)
}

/** Newest entry of an ascending list that is not later than `seconds`. */
function barAt(times: number[], seconds: number): number {
  let low = 0
  let high = times.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((times[middle] ?? Infinity) <= seconds) low = middle
    else high = middle - 1
  }
  return times[low] ?? seconds
}

/** What a deal did to the balance: profit with commission, swap and fee. */
export function dealNet(deal: Pick<Deal, "profit" | "commission" | "swap" | "fee">): string {
  return addMoney(deal.profit, deal.commission, deal.swap, deal.fee)
}

/** Realised result since the broker's midnight, costs included; deposits and withdrawals are not results. */
export function resultToday(deals: Deal[], brokerTime: number): string {
  const midnight = Math.floor(brokerTime / 86_400) * 86_400_000
  const today = deals.filter((deal) => deal.broker_time_msc >= midnight && (deal.type === "buy" || deal.type === "sell"))
  return addMoney("0.00", ...today.map(dealNet))
}

export interface CurvePoint {
  time: number
  balance: number
  equity: number
}

/** Strictly ascending seconds, as the chart needs them; of several samples in one second the newest stays. */
export function equityCurve(points: EquityPoint[]): CurvePoint[] {
  const curve: CurvePoint[] = []
  for (const point of points) {
    const time = Math.floor(new Date(point.at).getTime() / 1000)
    const last = curve.at(-1)
    if (last && time < last.time) continue
    if (last && time === last.time) curve.pop()
    curve.push({ time, balance: Number(point.balance), equity: Number(point.equity) })
  }
  return curve
}

export interface BalancePoint {
  time: number
  value: number
  drawdown: number
}

/** What a bot on paper has made, after each deal that closed something, and how far that lies below its highest. Takes deals newest first. */
export function paperCurve(deals: Pick<PaperDeal, "broker_time" | "entry" | "profit" | "total">[]): BalancePoint[] {
  const curve: BalancePoint[] = []
  const oldest = deals.at(-1)
  let highest = oldest ? Number(oldest.total) - Number(oldest.profit) : 0
  for (const deal of [...deals].reverse()) {
    if (deal.entry !== "out") continue
    const last = curve.at(-1)
    const time = Math.max(deal.broker_time, last?.time ?? 0)
    const value = Number(deal.total)
    highest = Math.max(highest, value)
    const drawdown = last?.time === time ? Math.max(last.drawdown, highest - value) : highest - value
    if (last?.time === time) curve.pop()
    curve.push({ time, value, drawdown })
  }
  return curve
}

/** Strictly ascending seconds of the broker's clock; of several points in one second the newest stays, with the deepest fall. */
export function balanceCurve(points: StatisticsPoint[]): BalancePoint[] {
  const curve: BalancePoint[] = []
  for (const point of points) {
    const time = Math.floor(point.broker_time_msc / 1000)
    const last = curve.at(-1)
    if (last && time < last.time) continue
    const drawdown = last?.time === time ? Math.max(last.drawdown, point.drawdown) : point.drawdown
    if (last?.time === time) curve.pop()
    curve.push({ time, value: Number(point.value), drawdown })
  }
  return curve
}
