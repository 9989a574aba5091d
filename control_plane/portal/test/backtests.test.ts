import { describe, expect, it } from "vitest"
import type { StrategyParameter } from "../src/api/types"
import { curvePoints, overlaid, parseRange } from "../src/lib/backtests"

const whole: StrategyParameter = { name: "fast", title: "Fast", help: "", type: "int", default: 5, minimum: 1, maximum: 500 }

describe("a range to search", () => {
  it("has both ends and a step", () => expect(parseRange("5:20:5", whole)).toEqual({ first: 5, last: 20, step: 5 }))
  it("may be left out", () => expect(parseRange("  ", whole)).toBeUndefined())
  it.each(["5", "5:1:1", "1:5:0", "1:5:x", "1::2", "1:5:0.5"])("refuses %s", (text) => expect(parseRange(text, whole)).toBeNull())
})

describe("the curve of a report", () => {
  it("has each second once, the last value of it", () =>
    expect(curvePoints([[1000, 1, 2], [1900, 3, 4], [2000, 5, 6]])).toEqual([
      { time: 1, balance: 3, equity: 4 },
      { time: 2, balance: 5, equity: 6 },
    ]))
  it("is laid over others on one scale of money", () => {
    const first = [{ time: 0, balance: 0, equity: 0 }, { time: 10, balance: 0, equity: 5 }]
    const second = [{ time: 90, balance: 0, equity: 10 }, { time: 100, balance: 0, equity: 0 }]
    expect(overlaid([first, second], 100, 10)).toEqual({ lines: ["0.0,10.0 100.0,5.0", "0.0,0.0 100.0,10.0"], low: 0, high: 10 })
  })
  it("is nothing without points", () => expect(overlaid([[]], 100, 10).lines).toEqual([]))
})
