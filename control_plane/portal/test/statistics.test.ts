import { describe, expect, it } from "vitest"
import type { CalendarDay, Reconciliation, StatisticsGroup } from "../src/api/types"
import {
  booksWords,
  breakdownBars,
  exportAddress,
  firstDay,
  formatHeld,
  formatRatio,
  formatShare,
  monthGrid,
  monthName,
  shiftMonth,
  statisticsQuery,
} from "../src/lib/statistics"

const NOW = new Date("2026-03-02T12:00:00Z")
const day = (at: string): CalendarDay => ({ day: at, result: "5.00", flow: "0.00", trades: 1, balance: "10.00", gain: 0.01 })

describe("what is asked for", () => {
  it("counts back from today", () => {
    expect(firstDay("month", NOW)).toBe("2026-01-31")
    expect(firstDay("all", NOW)).toBeNull()
    expect(statisticsQuery({ span: "all", symbol: "" }, NOW)).toEqual({})
    expect(statisticsQuery({ span: "year", symbol: "EURUSD" }, NOW)).toEqual({ since: "2025-03-02", symbol: "EURUSD" })
  })

  it("names files with the filter of the page", () => {
    expect(exportAddress("acc_1", "deals", { span: "month", symbol: "EUR USD&x" }, NOW)).toBe(
      "/api/v1/accounts/acc_1/exports/deals?symbol=EUR+USD%26x",
    )
    expect(exportAddress("acc_1", "positions", { span: "month", symbol: "X" }, NOW)).toBe("/api/v1/accounts/acc_1/exports/positions")
    expect(exportAddress("acc_1", "statistics", { span: "month", symbol: "" }, NOW)).toBe(
      "/api/v1/accounts/acc_1/exports/statistics?since=2026-01-31",
    )
  })
})

describe("figures", () => {
  it("shows shares, ratios and times as people read them", () => {
    expect(formatShare(0.12345, true)).toBe("+12.35 %")
    expect(formatShare(-0.5)).toBe("\u221250.00 %")
    expect(formatShare(-0.000001, true)).toBe("0.00 %")
    expect(formatShare(null)).toBe("–")
    expect(formatRatio(-1.234)).toBe("\u22121.23")
    expect(formatRatio(null)).toBe("–")
    expect([30, 90, 5400, 200_000].map(formatHeld)).toEqual(["30 s", "2 min", "1.5 h", "2.3 d"])
  })

  it("measures bars by the largest", () => {
    const group = (key: string, net: string): StatisticsGroup => ({ key, net, trades: 4, wins: 1, volume: 1 })
    const bars = breakdownBars([group("a", "-50.00"), group("b", "25.00"), group("c", "0.00")])
    expect(bars.map((bar) => [bar.width, bar.tone])).toEqual([
      [100, "down"],
      [50, "up"],
      [0, "flat"],
    ])
    expect(bars[0]?.note).toBe("4 trades, 25.00 % won")
    expect(breakdownBars([])).toEqual([])
  })
})

describe("calendar", () => {
  it("begins weeks on Monday and knows its days", () => {
    const weeks = monthGrid("2026-02", [day("2026-02-05")])
    expect(weeks).toHaveLength(5)
    expect(weeks.every((week) => week.length === 7)).toBe(true)
    expect(weeks[0]?.slice(0, 6)).toEqual([null, null, null, null, null, null])
    expect(weeks[0]?.[6]?.day).toBe(1)
    expect(weeks.flat().filter((cell) => cell?.known)).toHaveLength(1)
    expect(weeks.flat().filter((cell) => cell)).toHaveLength(28)
  })

  it("moves over the turn of the year", () => {
    expect(shiftMonth("2026-01", -1)).toBe("2025-12")
    expect(shiftMonth("2025-12", 1)).toBe("2026-01")
    expect(monthName("2026-01")).toBe("January 2026")
  })
})

it("says how the log stands to the broker", () => {
  const state: Reconciliation = {
    state: "complete", problem: "", requested_at: null, looked_at: null, finished_at: null,
    deals: 4, orders: 2, fetched: 0, open_differences: 0, healed_differences: 0,
  }
  expect(booksWords(state)).toContain("agrees")
  expect(booksWords({ ...state, open_differences: 1 })).toBe("1 difference is open.")
  expect(booksWords({ ...state, state: "failed", problem: "No answer." })).toContain("No answer.")
})
