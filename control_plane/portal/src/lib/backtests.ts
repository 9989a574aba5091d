import type { Backtest, ParameterRange, StrategyParameter } from "../api/types"
import type { CurvePoint } from "./chartData"

/** Whether there is still something to wait for. */
export const isOpen = (backtest: Backtest): boolean => backtest.state === "queued" || backtest.state === "running"

export function stateText(backtest: Backtest): string {
  if (isOpen(backtest) && backtest.cancelling) return "Ending"
  if (backtest.state === "running") return `${Math.floor(backtest.progress * 100)} %`
  return { queued: "Waiting", done: "Done", failed: "Failed", cancelled: "Cancelled" }[backtest.state]
}

/** The curve of a report, [ms, balance, equity] each, as the charts take it: seconds, each second once. */
export function curvePoints(curve: unknown): CurvePoint[] {
  if (!Array.isArray(curve)) return []
  const points = new Map<number, CurvePoint>()
  for (const [time, balance, equity] of curve as [number, number, number][]) {
    const seconds = Math.floor(time / 1000)
    points.set(seconds, { time: seconds, balance, equity })
  }
  return [...points.values()]
}

/** Coordinates of lines over each other in a box, each from 0 to 1 of its own time and all on one scale of money. */
export function overlaid(curves: CurvePoint[][], width: number, height: number): { lines: string[]; low: number; high: number } {
  const values = curves.flat().map((point) => point.equity)
  if (!values.length) return { lines: [], low: 0, high: 0 }
  const low = values.reduce((a, b) => Math.min(a, b))
  const high = values.reduce((a, b) => Math.max(a, b))
  const lines = curves.map((points) => {
    const first = points[0]?.time ?? 0
    const length = (points.at(-1)?.time ?? 0) - first || 1
    return points
      .map((point) => {
        const x = ((point.time - first) / length) * width
        const y = height - ((point.equity - low) / (high - low || 1)) * height
        return `${x.toFixed(1)},${y.toFixed(1)}`
      })
      .join(" ")
  })
  return { lines, low, high }
}

/** A range out of `5:20:5`; undefined when there is none, null when it cannot be read. */
export function parseRange(text: string, parameter: StrategyParameter): ParameterRange | null | undefined {
  if (!text.trim()) return undefined
  const parts = text.split(":").map((part) => (part.trim() === "" ? NaN : Number(part)))
  const [first, last, step] = parts
  if (parts.length !== 3 || first === undefined || last === undefined || step === undefined) return null
  if (!parts.every(Number.isFinite) || step <= 0 || last < first) return null
  if (parameter.type === "int" && !parts.every(Number.isInteger)) return null
  return { first, last, step }
}
