/** The life of terminals and bots in a trader's words. */

import type { Bot, Terminal } from "../api/types"
import { formatAge } from "./format"

export type StatusTone = "ok" | "busy" | "warn" | "bad" | "idle"

export interface Status {
  label: string
  tone: StatusTone
}

const PHASES: Record<Terminal["phase"], Status> = {
  absent: { label: "Waiting for a place", tone: "busy" },
  preparing: { label: "Preparing", tone: "busy" },
  launching: { label: "Starting MetaTrader", tone: "busy" },
  logging_in: { label: "Logging in", tone: "busy" },
  ready: { label: "Ready", tone: "ok" },
  degraded: { label: "Limited", tone: "warn" },
  stopping: { label: "Stopping", tone: "busy" },
  stopped: { label: "Stopped", tone: "idle" },
  backing_off: { label: "Restarting soon", tone: "warn" },
  crash_loop: { label: "Keeps failing", tone: "bad" },
  failed: { label: "Failed", tone: "bad" },
}

type TerminalState = Pick<Terminal, "phase" | "intent" | "hold" | "reason">

const UNDER_WAY: ReadonlySet<Terminal["phase"]> = new Set<Terminal["phase"]>(["preparing", "launching", "logging_in", "stopping"])

/** The broker's last word. While the agent still tries (it does so once more by itself), another password would come too early. */
export function hasBadCredentials(terminal: TerminalState): boolean {
  return terminal.reason === "bad_credentials" && terminal.intent === "running" && !UNDER_WAY.has(terminal.phase)
}

export function terminalStatus(terminal: TerminalState): Status {
  if (terminal.intent === "deleted") return { label: "Being removed", tone: "idle" }
  if (hasBadCredentials(terminal)) return { label: "Login refused", tone: "bad" }
  if (terminal.hold !== "none") return { label: "On hold", tone: "warn" }
  if (terminal.intent === "stopped") {
    const gone = terminal.phase === "absent" || terminal.phase === "stopped"
    return gone ? PHASES.stopped : PHASES.stopping
  }
  if (terminal.phase === "stopped") return { label: "Starting", tone: "busy" }
  return PHASES[terminal.phase]
}

/** `Connected; last answer 3 s ago`, with an age that grows while nothing new is heard. */
export function statusWords(terminal: Pick<Terminal, "short" | "last_answer_at">, now: number): string {
  return terminal.last_answer_at ? `${terminal.short}; last answer ${formatAge(terminal.last_answer_at, now)} ago` : terminal.short
}

/** Quotes, bars and orders need a terminal that answers. */
export function answersCalls(terminal: Pick<Terminal, "phase" | "intent">): boolean {
  return terminal.intent === "running" && (terminal.phase === "ready" || terminal.phase === "degraded")
}

export const LAUNCH_STEPS = [
  { phase: "preparing", label: "Prepare" },
  { phase: "launching", label: "Start MetaTrader" },
  { phase: "logging_in", label: "Log in" },
  { phase: "ready", label: "Ready" },
] as const

/** Index of the launch step under way; -1 before the first one, the number of steps when all are done. */
export function launchStep(phase: Terminal["phase"]): number {
  if (phase === "ready" || phase === "degraded") return LAUNCH_STEPS.length
  return LAUNCH_STEPS.findIndex((step) => step.phase === phase)
}

const BOT_PHASES: Record<Bot["phase"], Status> = {
  starting: { label: "Starting", tone: "busy" },
  running: { label: "Running", tone: "ok" },
  stopped: { label: "Stopped", tone: "idle" },
  backing_off: { label: "Restarting soon", tone: "warn" },
  failed: { label: "Failed", tone: "bad" },
}

export function botStatus(bot: Pick<Bot, "phase" | "intent">): Status {
  if (bot.intent === "stopped" && bot.phase !== "stopped" && bot.phase !== "failed") return { label: "Stopping", tone: "busy" }
  if (bot.intent === "running" && bot.phase === "stopped") return BOT_PHASES.starting
  return BOT_PHASES[bot.phase]
}
