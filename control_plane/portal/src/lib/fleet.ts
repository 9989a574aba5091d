/** Nodes and what becomes of their terminals, in an operator's words. */

import type { FleetNode, NodeTerminal, User } from "../api/types"
import type { Status } from "./phase"

export function runsTheFleet(user: Pick<User, "role"> | null | undefined): boolean {
  return user?.role === "owner" || user?.role === "ops"
}

const SEEN: Record<FleetNode["state"], Status> = {
  online: { label: "Online", tone: "ok" },
  silent: { label: "Silent", tone: "warn" },
  lost: { label: "Lost", tone: "bad" },
}

/** What is seen of a node, unless its identity makes that meaningless. */
export function nodeStatus(node: Pick<FleetNode, "state" | "identity_state" | "declared_dead_at">): Status {
  if (node.identity_state === "locked") return { label: "Locked: two machines", tone: "bad" }
  if (node.identity_state === "revoked") return { label: "Revoked", tone: "idle" }
  return node.declared_dead_at ? { label: "Declared dead", tone: "idle" } : SEEN[node.state]
}

const WISHES: Record<FleetNode["availability"], Status> = {
  open: { label: "Open", tone: "ok" },
  cordoned: { label: "Cordoned", tone: "idle" },
  draining: { label: "Draining", tone: "busy" },
  quarantined: { label: "Quarantined", tone: "warn" },
}

export function availabilityStatus(node: Pick<FleetNode, "availability" | "drain">): Status {
  return node.drain?.left === 0 ? { label: "Drained", tone: "idle" } : WISHES[node.availability]
}

const STEPS: Record<string, string> = {
  leaving: "leaving",
  next: "next",
  queued: "queued",
  waits_until_flat: "waiting until flat",
  no_room: "without room elsewhere",
  suspect: "on a silent node",
}

/** `3 of 8 gone; 2 leaving, 3 waiting until flat`. */
export function drainProgress(drain: NonNullable<FleetNode["drain"]>): string {
  const left = Object.entries(drain.steps).map(([step, count]) => `${count} ${STEPS[step] ?? step}`)
  const gone = `${drain.total - drain.left} of ${drain.total} gone`
  return left.length ? `${gone}; ${left.join(", ")}` : gone
}

const STAYS: Record<NonNullable<NodeTerminal["stays_because"]>, string> = {
  not_suspect: "Its node is not lost yet.",
  node_present: "Its node is not lost yet.",
  frozen: "Relocation is frozen: too many nodes fell silent at once.",
  identity_shared: "Two machines used the node's identity; a person has to look.",
  keeps_running: "It is set to run on, so it waits for its node.",
  no_watchdog: "The node reported no watchdog, so nothing proves that it has stopped.",
  fence_pending: "The moment by which the node must have ended it has not come.",
}

/** Why a terminal is where it is, or why it may not leave a silent node. */
export function whyHere(terminal: Pick<NodeTerminal, "stays_because" | "why_here">): string {
  return terminal.stays_because ? STAYS[terminal.stays_because] : terminal.why_here || "–"
}
