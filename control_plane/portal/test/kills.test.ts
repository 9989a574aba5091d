import { describe, expect, it } from "vitest"
import { killProgress, killStatus, mayRelease, openWords, reachesOf, reachOver } from "../src/lib/kills"
import { isAt, placesOf } from "../src/lib/places"

const kill = { mode: "close_all" as const, listed: true, finished: false, released_at: null, counts: {} as Record<string, number> }

describe("how far a kill switch is", () => {
  it("counts only those who have answered for themselves", () => {
    expect(killProgress({ ...kill, counts: { done: 2, closing: 1, unreachable: 1 } })).toBe("2 of 4 have said that nothing is open; 1 closing; 1 cannot be reached.")
    expect(killProgress({ ...kill, mode: "no_new_orders", counts: { done: 1 } })).toBe("1 of 1 have said that nothing more is opened.")
  })
  it("says so while the accounts are not known, and when there are none", () => {
    expect(killProgress({ ...kill, listed: false })).toContain("being found")
    expect(killProgress(kill)).toBe("It concerns no account.")
  })
  it("is bad while somebody cannot answer, and done only when all have", () => {
    expect(killStatus({ ...kill, counts: { done: 3, not_running: 1 } }).tone).toBe("bad")
    expect(killStatus({ ...kill, counts: { closing: 1 } }).tone).toBe("busy")
    expect(killStatus({ ...kill, finished: true, counts: { done: 4 } })).toEqual({ label: "Nothing is open", tone: "ok" })
    expect(killStatus({ ...kill, finished: true, released_at: "2026-03-02T10:00:00Z" }).label).toBe("Released")
  })
  it("never tells silence as zero", () => {
    expect(openWords({ positions: 0, orders: 0 })).toBe("0 positions, 0 orders")
    expect(openWords({ positions: 1, orders: 1 })).toBe("1 position, 1 order")
    expect(openWords({ positions: 0, orders: null })).toBe("not known")
  })
})

describe("whom somebody may stop, and let trade again", () => {
  it.each([
    ["trader", ["user"]],
    ["support", ["user"]],
    ["broker_admin", ["user", "tenant"]],
    ["ops", ["user", "fleet"]],
    ["owner", ["user", "tenant", "fleet"]],
  ])("%s: %s", (role, scopes) => {
    expect(reachesOf(role).map((each) => each.scope)).toEqual(scopes)
    expect(reachesOf(role).every((each) => each.needsReason === (each.scope !== "user"))).toBe(true)
  })
  it("somebody else's accounts take a reason", () => {
    const reach = reachOver({ id: "usr_1", display_name: "Ada", email: "ada@example.org" })
    expect([reach.title, reach.memberId, reach.needsReason]).toEqual(["All accounts of Ada (ada@example.org)", "usr_1", true])
    expect(reachOver({ id: "usr_1", display_name: "", email: "ada@example.org" }).title).toBe("All accounts of ada@example.org")
  })
  it("what somebody else threw is released by those who manage the tenant", () => {
    expect(mayRelease({ thrown_by_you: false, scope: "user" }, "trader")).toBe(false)
    expect(mayRelease({ thrown_by_you: true, scope: "user" }, "trader")).toBe(true)
    expect(mayRelease({ thrown_by_you: false, scope: "user" }, "broker_admin")).toBe(true)
  })
  it("what holds the fleet is released by those who run it", () => {
    expect(mayRelease({ thrown_by_you: false, scope: "fleet" }, "broker_admin")).toBe(false)
    expect(mayRelease({ thrown_by_you: false, scope: "fleet" }, "ops")).toBe(true)
  })
})

it("the fleet is shown to those who run it, and a page below a place belongs to it", () => {
  expect(placesOf({ role: "trader" }).map((place) => place.name)).not.toContain("fleet")
  const fleet = placesOf({ role: "ops" }).at(-1)
  expect(fleet && isAt(fleet, "node")).toBe(true)
  expect(fleet && isAt(fleet, "bots")).toBe(false)
})
