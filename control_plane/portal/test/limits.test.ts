import { describe, expect, it } from "vitest"
import type { Limits } from "../src/api/types"
import { fromForm, plainWords, toForm } from "../src/lib/limits"

const NONE: Limits = {
  symbols: null,
  max_symbols: null,
  max_volume: null,
  max_open_volume: null,
  max_positions: null,
  max_orders: null,
  orders_per_minute: null,
  daily_loss: null,
  drawdown: null,
  equity_floor: null,
  hours: null,
  pauses: [],
  on_breach: "stop_opening",
}

describe("the limits form", () => {
  it("gives back what it was given, also what it has no fields for", () => {
    const limits: Limits = {
      ...NONE,
      symbols: ["EURUSD", "GBPUSD"],
      max_volume: "0.10",
      daily_loss: { unit: "percent", value: "5", base: "balance", reset_minute: 90 },
      drawdown: { unit: "money", value: "1000", kind: "static", start: "10000" },
      hours: [{ day: 6, start_minute: 60, end_minute: 120 }],
      pauses: [{ start: "2026-01-02T13:00:00Z", end: "2026-01-02T14:00:00Z", symbols: [], currencies: ["USD"] }],
      on_breach: "close_all",
    }
    expect(fromForm(toForm(limits), limits)).toEqual(limits)
    expect(fromForm(toForm(NONE), NONE)).toEqual(NONE)
  })

  it("takes an empty field for no limit and one pair of hours for every workday", () => {
    const form = { ...toForm(NONE), maxPositions: "3", hoursFrom: "09:30", hoursTo: "17:00", symbols: "EURUSD GBPUSD," }
    const limits = fromForm(form, NONE)
    expect(limits.max_positions).toBe(3)
    expect(limits.max_volume).toBeNull()
    expect(limits.symbols).toEqual(["EURUSD", "GBPUSD"])
    expect(limits.hours).toHaveLength(5)
    expect(limits.hours?.[4]).toEqual({ day: 4, start_minute: 570, end_minute: 1020 })
    expect(toForm(limits).hoursTo).toBe("17:00")
  })
})

describe("what happens, in plain words", () => {
  it("says what a hit limit does", () => {
    const daily = { unit: "percent", value: "5", base: "higher", reset_minute: 0 } as const
    expect(plainWords({ ...NONE, daily_loss: daily })[0]).toContain("nothing more is opened")
    expect(plainWords({ ...NONE, daily_loss: daily, on_breach: "close_all" })[0]).toContain("everything is closed")
    expect(plainWords(NONE)).toEqual([])
  })
})
