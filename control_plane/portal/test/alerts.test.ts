import { describe, expect, it } from "vitest"
import type { AlertSettings } from "../src/api/types"
import { deliveryStatus, deliveryWords, EVENTS, settable, thresholdWords, timesForm, timesProblems, withMode, withTimes } from "../src/lib/alerts"

const settings: AlertSettings = {
  modes: { drawdown: { portal: "on", email: "on" }, daily_report: { portal: "on", email: "silent" } },
  time_zone: "Europe/Berlin",
  quiet_from: 1350,
  quiet_until: 420,
  digest: "daily",
  stale_minutes: 5,
  drawdown_percent: 20,
  margin_level_percent: 150,
  report_minute: 435,
  urgent: ["drawdown"],
  telegram_available: true,
}

describe("the form of times and figures", () => {
  it("gives back what it was given, and leaves out what only the farm says", () => {
    const wish = settable(settings)
    expect(wish).not.toHaveProperty("urgent")
    expect(wish).not.toHaveProperty("telegram_available")
    expect(withTimes(wish, timesForm(settings))).toEqual(wish)
    const always: AlertSettings = { ...settings, quiet_from: null, quiet_until: null }
    expect(withTimes(settable(always), timesForm(always))).toEqual(settable(always))
  })

  it("has both ends of the quiet hours or none", () => {
    const wish = withTimes(settable(settings), { ...timesForm(settings), quiet: false })
    expect([wish.quiet_from, wish.quiet_until]).toEqual([null, null])
    expect(withTimes(settable(settings), { ...timesForm(settings), quietFrom: "23:05" }).quiet_from).toBe(1385)
  })

  it.each([
    [{ staleMinutes: "2.5" }, "stale_minutes"],
    [{ staleMinutes: "" }, "stale_minutes"],
    [{ drawdown: "101" }, "drawdown_percent"],
    [{ drawdown: "0" }, "drawdown_percent"],
    [{ marginLevel: "many" }, "margin_level_percent"],
    [{ quietFrom: "07:00" }, "quiet_until"],
  ])("does not take %o", (change, field) => {
    expect(Object.keys(timesProblems({ ...timesForm(settings), ...change }))).toEqual([field])
  })
  it("takes a comma for a point", () => {
    const form = { ...timesForm(settings), drawdown: "12,5" }
    expect(timesProblems(form)).toEqual({})
    expect(withTimes(settable(settings), form).drawdown_percent).toBe(12.5)
  })
})

it("one mode changes, all others stay", () => {
  const changed = withMode(settable(settings), "drawdown", "email", "off")
  expect(changed.modes["drawdown"]).toEqual({ portal: "on", email: "off" })
  expect(changed.modes["daily_report"]).toEqual(settings.modes["daily_report"])
  expect(settings.modes["drawdown"]?.["email"]).toBe("on")
  expect(Object.keys(EVENTS)).toHaveLength(13)
})

it.each([
  [{ kind: "price_above", symbol: "EURUSD", value: "1.20000000" }, "EURUSD: price above 1.2"],
  [{ kind: "margin_level_below", symbol: "", value: "150.00000000" }, "Margin level below 150 %"],
  [{ kind: "equity_below", symbol: "", value: "9000" }, "Equity below 9000"],
] as const)("a limit %o is said as %s", (threshold, words) => expect(thresholdWords(threshold)).toBe(words))

describe("a delivery", () => {
  it("that waits for its next attempt is not one that was never tried", () => {
    expect(deliveryStatus({ state: "pending", attempts: 0 }).label).toBe("On its way")
    expect(deliveryStatus({ state: "pending", attempts: 2 }).label).toBe("Will be tried again")
    expect(deliveryStatus({ state: "dead", attempts: 10 }).tone).toBe("bad")
  })
  it("says how the receiver answered", () => {
    expect(deliveryWords({ status_code: 200, milliseconds: 12, error: "", attempts: 1 })).toBe("Answered 200 in 12 ms.")
    expect(deliveryWords({ status_code: 500, milliseconds: 3, error: "The receiver answered 500.", attempts: 3 })).toBe("The receiver answered 500. 3 attempts.")
    expect(deliveryWords({ status_code: null, milliseconds: null, error: "", attempts: 0 })).toBe("")
  })
})
