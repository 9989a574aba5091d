/** Kill switches in plain words: what they ask, whom they concern, and what is proven. */

import type { KillMode, KillReport, KillScope, KillSwitch, Member } from "../api/types"
import { runsTheFleet } from "./fleet"
import type { Status } from "./phase"

export const MODE_NAMES: Record<KillMode, string> = { no_new_orders: "No new orders", close_all: "Close everything and stop" }

export const MODE_QUESTIONS: Record<KillMode, { title: string; text: string; action: string }> = {
  no_new_orders: {
    title: "Allow nothing new?",
    text: "Nothing is opened any more, whoever trades: people, bots and scripts. Waiting orders are removed, since each would open a position. Positions stay, and can be closed.",
    action: "Stop new orders",
  },
  close_all: {
    title: "Close everything and stop?",
    text: "Every position is closed at the market and every waiting order removed; then the terminals are stopped. Losses become final. This cannot be taken back.",
    action: "Close everything",
  },
}

export const SCOPE_NAMES: Record<KillScope, string> = {
  account: "One account",
  user: "All accounts of one person",
  tenant: "The whole tenant",
  fleet: "The whole fleet",
}

type Target = KillReport["targets"][number]

export const TARGET_STATES: Record<Target["state"], Status> = {
  waiting: { label: "Telling the node", tone: "busy" },
  closing: { label: "Closing", tone: "busy" },
  done: { label: "Done", tone: "ok" },
  unreachable: { label: "Cannot be reached", tone: "bad" },
  not_running: { label: "Terminal not running", tone: "warn" },
}

/** Of the whole switch. */
export function killStatus(kill: Pick<KillSwitch, "mode" | "released_at" | "finished" | "listed" | "counts">): Status {
  if (kill.released_at) return { label: "Released", tone: "idle" }
  if (kill.finished) return { label: kill.mode === "close_all" ? "Nothing is open" : "In force", tone: "ok" }
  if (!kill.listed) return { label: "Finding the accounts", tone: "busy" }
  return kill.counts["unreachable"] || kill.counts["not_running"] ? { label: "Not proven", tone: "bad" } : { label: "Under way", tone: "busy" }
}

/** How many have answered for themselves, and what the others do: silence is never told as "nothing is open". */
export function killProgress(kill: Pick<KillSwitch, "mode" | "listed" | "counts">): string {
  if (!kill.listed) return "The accounts that it concerns are being found."
  const all = Object.values(kill.counts).reduce((sum, count) => sum + count, 0)
  if (!all) return "It concerns no account."
  const done = kill.counts["done"] ?? 0
  const proven = kill.mode === "close_all" ? "have said that nothing is open" : "have said that nothing more is opened"
  const states: [Target["state"], string][] = [
    ["waiting", "not told yet"],
    ["closing", "closing"],
    ["unreachable", "cannot be reached"],
    ["not_running", "with a stopped terminal"],
  ]
  const others = states.flatMap(([state, words]) => (kill.counts[state] ? [`${kill.counts[state]} ${words}`] : []))
  return [`${done} of ${all} ${proven}`, ...others].join("; ") + "."
}

/** `0 positions, 0 orders`; what nobody knows is said. */
export function openWords(target: Pick<Target, "positions" | "orders">): string {
  if (target.positions === null || target.orders === null) return "not known"
  return `${target.positions} ${target.positions === 1 ? "position" : "positions"}, ${target.orders} ${target.orders === 1 ? "order" : "orders"}`
}

export interface Reach {
  scope: Exclude<KillScope, "account">
  title: string
  text: string
  /** The audit trail wants to know why. */
  needsReason: boolean
  /** All accounts of this person, who is somebody else. */
  memberId?: string
}

/** What somebody who looks after people may stop of one of them. */
export function reachOver(member: Pick<Member, "id" | "display_name" | "email">): Reach {
  // Several people may have one name.
  const who = member.display_name ? `${member.display_name} (${member.email})` : member.email
  return { scope: "user", title: `All accounts of ${who}`, text: "Also those that they connect while it is in force.", needsReason: true, memberId: member.id }
}

/** What somebody of a role may stop at once. */
export function reachesOf(role: string | undefined): Reach[] {
  const reaches: Reach[] = [
    { scope: "user", title: "All of my accounts", text: "Also those that you connect while it is in force.", needsReason: false },
  ]
  if (managesTenant(role))
    reaches.push({ scope: "tenant", title: "The whole tenant", text: "All accounts of everybody in your tenant.", needsReason: true })
  if (role !== undefined && runsTheFleet({ role }))
    reaches.push({ scope: "fleet", title: "The whole fleet", text: "Every account of every tenant of this farm.", needsReason: true })
  return reaches
}

export function managesTenant(role: string | undefined): boolean {
  return role === "broker_admin" || role === "owner"
}

/** Whether somebody may let the accounts trade again: their own switch, any of their tenant for those who manage it; of the fleet those who run it. */
export function mayRelease(kill: Pick<KillSwitch, "thrown_by_you" | "scope">, role: string | undefined): boolean {
  if (kill.scope === "fleet") return role !== undefined && runsTheFleet({ role })
  return kill.thrown_by_you || managesTenant(role)
}
