import { describe, expect, it } from "vitest"
import { equityCurve, mergeBars, paperCurve, resultToday, tradeMarkers, balanceCurve } from "../src/lib/chartData"
import { bar, deal } from "./records"

describe("bars", () => {
  it("of a later read lie over the known ones", () => {
    expect(mergeBars([bar(60), bar(120, 1)], [bar(120, 2), bar(180)], 10)).toEqual([bar(60), bar(120, 2), bar(180)])
  })
  it("are read anew when some would be missing in between", () => {
    expect(mergeBars([bar(60)], [bar(120), bar(180)], 10)).toBeNull()
    expect(mergeBars([], [bar(60)], 10)).toBeNull()
  })
  it("never grow beyond the limit", () => {
    expect(mergeBars([bar(60), bar(120)], [bar(120), bar(180)], 2)).toEqual([bar(120), bar(180)])
  })
})

describe("markers", () => {
  const bars = [bar(600), bar(660), bar(720)]
  it("sit on the bar that was open at the time of the deal", () => {
    const deals = [
      deal({ ticket: 2, entry: "out", type: "sell", profit: "5.00", commission: "-0.30", broker_time_msc: 719_999 }),
      deal({ ticket: 1, broker_time_msc: 600_000 }),
    ]
    expect(tradeMarkers(deals, "EURUSD", bars, true)).toEqual([
      { time: 600, side: "buy", kind: "entry", text: "Buy" },
      { time: 660, side: "sell", kind: "exit", text: "+4.70" },
    ])
  })
  it("are left out before the first bar, for other symbols and for deposits", () => {
    const deals = [
      deal({ broker_time_msc: 599_999 }),
      deal({ broker_time_msc: 660_000, symbol: "GBPUSD" }),
      deal({ broker_time_msc: 660_000, type: "balance" }),
    ]
    expect(tradeMarkers(deals, "EURUSD", bars, true)).toEqual([])
    expect(tradeMarkers([deal()], "EURUSD", [], true)).toEqual([])
  })
})

describe("result of the day", () => {
  const midnight = 1_772_409_600
  it("is what was realised since the broker's midnight, costs included, deposits not", () => {
    const at = (seconds: number): { broker_time_msc: number } => ({ broker_time_msc: (midnight + seconds) * 1000 })
    const deals = [
      deal({ profit: "10.00", commission: "-0.60", swap: "-0.05", ...at(10) }),
      deal({ profit: "-2.00", fee: "-0.10", ...at(0) }),
      deal({ profit: "99.00", ...at(-1) }),
      deal({ profit: "5000.00", type: "balance", ...at(5) }),
    ]
    expect(resultToday(deals, midnight + 3600)).toBe("7.25")
  })
})

describe("equity curve", () => {
  const point = (at: string, equity: string) => ({ at, broker_time: 0, balance: "1.00", equity })
  it("has one point a second, the newest, in ascending order", () => {
    const points = [
      point("2026-03-02T10:00:00.100Z", "1.00"),
      point("2026-03-02T10:00:00.900Z", "2.00"),
      point("2026-03-02T10:00:02Z", "3.00"),
      point("2026-03-02T10:00:01Z", "4.00"),
    ]
    expect(equityCurve(points).map((item) => item.equity)).toEqual([2, 3])
  })
})

it("keeps the deepest fall of a second", () => {
  const point = (msc: number, value: string, drawdown: number) => ({ broker_time_msc: msc, value, drawdown })
  expect(balanceCurve([point(1000, "5", 0.2), point(1999, "6", 0.1), point(3000, "7", 0)])).toEqual([
    { time: 1, value: 6, drawdown: 0.2 },
    { time: 3, value: 7, drawdown: 0 },
  ])
})

it("a curve on paper has a point for each deal that closes, and its fall from where it began", () => {
  const closing = (broker_time: number, profit: string, total: string) => ({ broker_time, entry: "out" as const, profit, total })
  const deals = [closing(30, "5.00", "3.00"), closing(20, "-1.00", "-2.00"), closing(20, "-1.00", "-1.00"), { ...closing(10, "0.00", "0.00"), entry: "in" as const }]
  expect(paperCurve(deals)).toEqual([
    { time: 20, value: -2, drawdown: 2 },
    { time: 30, value: 3, drawdown: 0 },
  ])
  expect(paperCurve([])).toEqual([])
})
