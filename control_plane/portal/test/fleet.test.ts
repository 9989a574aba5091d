import { describe, expect, it } from "vitest"
import { availabilityStatus, drainProgress, nodeStatus, runsTheFleet, whyHere } from "../src/lib/fleet"
import { node } from "./records"

const drain = { started_at: "2026-03-02T10:00:00Z", deadline: "2026-03-02T11:00:00Z", total: 8, left: 5, steps: { leaving: 2, waits_until_flat: 3 } }

describe("a node", () => {
  it.each([
    [{}, "Online"],
    [{ state: "lost" }, "Lost"],
    [{ state: "lost", declared_dead_at: "2026-03-02T10:00:00Z" }, "Declared dead"],
    [{ state: "online", identity_state: "locked" }, "Locked: two machines"],
    [{ state: "lost", identity_state: "revoked" }, "Revoked"],
  ] as const)("%o is told as %s", (change, label) => {
    expect(nodeStatus(node(change)).label).toBe(label)
  })
  it("is drained when nothing is left", () => {
    expect(availabilityStatus(node({ availability: "draining", drain })).label).toBe("Draining")
    expect(availabilityStatus(node({ availability: "draining", drain: { ...drain, left: 0, steps: {} } })).label).toBe("Drained")
  })
  it("says how far its drain has come, and what the rest waits for", () => {
    expect(drainProgress(drain)).toBe("3 of 8 gone; 2 leaving, 3 waiting until flat")
    expect(drainProgress({ ...drain, left: 0, steps: {} })).toBe("8 of 8 gone")
  })
})

describe("the fleet", () => {
  it.each([
    ["owner", true],
    ["ops", true],
    ["support", false],
    ["trader", false],
    ["broker_admin", false],
  ] as const)("is run by %s: %s", (role, runs) => {
    expect(runsTheFleet({ role })).toBe(runs)
  })
  it("is run by nobody who is not signed in", () => {
    expect(runsTheFleet(null)).toBe(false)
  })
})

describe("a terminal on a node", () => {
  it("says what keeps it on a silent one", () => {
    expect(whyHere({ stays_because: "keeps_running", why_here: "Placed on a" })).toContain("waits for its node")
    expect(whyHere({ stays_because: null, why_here: "Placed on a" })).toBe("Placed on a")
  })
})
