import type { Role } from "../api/types"

const PLAIN: readonly Role[] = ["trader", "support"]

/** Into which roles somebody may invite; nobody else gets to see the invitations. */
export function rolesToInvite(role: string | undefined): readonly Role[] {
  if (role === "owner") return [...PLAIN, "ops", "broker_admin", "owner"]
  return role === "broker_admin" ? PLAIN : []
}

export function looksAfterPeople(role: string | undefined): boolean {
  return role === "support" || role === "broker_admin" || role === "owner"
}
