import { describe, expect, it } from "vitest"
import { answersCalls, botStatus, hasBadCredentials, launchStep, terminalStatus } from "../src/lib/phase"
import { bot, terminal } from "./records"

describe("status of a terminal", () => {
  it.each([
    [{ phase: "ready" }, "Ready", "ok"],
    [{ phase: "absent" }, "Waiting for a place", "busy"],
    [{ phase: "failed", reason: "bad_credentials" }, "Login refused", "bad"],
    [{ phase: "backing_off", reason: "broker_unreachable" }, "Restarting soon", "warn"],
    [{ phase: "stopped", hold: "unpaid" }, "On hold", "warn"],
    [{ phase: "ready", intent: "stopped" }, "Stopping", "busy"],
    [{ phase: "absent", intent: "stopped" }, "Stopped", "idle"],
    [{ phase: "stopped", intent: "running" }, "Starting", "busy"],
    [{ phase: "ready", intent: "deleted" }, "Being removed", "idle"],
  ] as const)("%o is told as %s", (change, label, tone) => {
    expect(terminalStatus(terminal(change))).toEqual({ label, tone })
  })
  it("asks for another password only while the terminal should run and does not try by itself", () => {
    expect(hasBadCredentials(terminal({ phase: "failed", reason: "bad_credentials" }))).toBe(true)
    expect(hasBadCredentials(terminal({ phase: "logging_in", reason: "bad_credentials" }))).toBe(false)
    expect(hasBadCredentials(terminal({ phase: "stopped", reason: "bad_credentials", intent: "stopped" }))).toBe(false)
  })
  it("calls are made only to a terminal that answers and should run", () => {
    expect(answersCalls(terminal({ phase: "degraded" }))).toBe(true)
    expect(answersCalls(terminal({ phase: "logging_in" }))).toBe(false)
    expect(answersCalls(terminal({ phase: "ready", intent: "stopped" }))).toBe(false)
  })
})

it("launch steps go forward from before the first to after the last", () => {
  const phases = ["absent", "preparing", "launching", "logging_in", "ready"] as const
  expect(phases.map(launchStep)).toEqual([-1, 0, 1, 2, 4])
})

describe("status of a bot", () => {
  it.each([
    [{ intent: "running", phase: "running" }, "Running"],
    [{ intent: "running", phase: "stopped" }, "Starting"],
    [{ intent: "stopped", phase: "running" }, "Stopping"],
    [{ intent: "stopped", phase: "stopped" }, "Stopped"],
    [{ intent: "running", phase: "failed" }, "Failed"],
    [{ intent: "stopped", phase: "failed" }, "Failed"],
  ] as const)("%o is told as %s", (change, label) => {
    expect(botStatus(bot(change)).label).toBe(label)
  })
})
