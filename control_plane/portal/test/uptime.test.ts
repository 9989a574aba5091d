import { describe, expect, it } from "vitest"
import type { UptimeShare } from "../src/api/types"
import { marketHoursNote, sharePercent, shareRemarks, shareTone } from "../src/lib/uptime"

const share = (change: Partial<UptimeShare> = {}): UptimeShare => ({
  share: 1,
  up_seconds: 3600,
  down_seconds: 0,
  unknown_seconds: 0,
  off_seconds: 0,
  ...change,
})

describe("a share of uptime", () => {
  it("is never rounded up to all of the time", () => {
    expect(sharePercent(share({ share: 0.999999 }))).toBe("99.99 %")
    expect(sharePercent(share())).toBe("100 %")
  })
  it("is not told where nothing was watched", () => {
    expect([sharePercent(share({ share: null })), shareTone(share({ share: null }))]).toEqual(["–", "idle"])
  })
  it("says what it leaves out", () => {
    expect(shareRemarks(share({ down_seconds: 30, unknown_seconds: 120, off_seconds: 7200 }))).toBe(
      "30 s without answers, 2 min not known, 2 h switched off",
    )
  })
  it("is good, fair or bad", () => {
    expect([0.999, 0.96, 0.5].map((value) => shareTone(share({ share: value })))).toEqual(["ok", "warn", "bad"])
  })
})

it("an assumed clock is called so", () => {
  expect(marketHoursNote({ time_zone: "America/New_York+7", time_zone_known: false })).toContain("assumed")
})
