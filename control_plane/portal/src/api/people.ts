/** The people of one's tenant. */

import { useQuery, type UseQueryReturnType } from "@tanstack/vue-query"
import type { Ref } from "vue"
import { api, unwrap, unwrapTagged } from "./client"
import { keys, readAll } from "./queries"
import type { Invitation, Member, Plan, PlanList } from "./types"

export function useInvitations(): UseQueryReturnType<Invitation[], Error> {
  return useQuery({
    queryKey: keys.invitations,
    queryFn: async () => (await unwrap(api.GET("/api/v1/members/invitations"))).items,
  })
}

export function useMembers(wanted: Ref<boolean>): UseQueryReturnType<Member[], Error> {
  return useQuery({
    queryKey: keys.members,
    queryFn: () => readAll((cursor) => unwrap(api.GET("/api/v1/members", { params: { query: { cursor, limit: 500 } } }))),
    enabled: wanted,
  })
}

/** What each plan allows, and which is one's own. */
export function usePlans(): UseQueryReturnType<PlanList, Error> {
  return useQuery({ queryKey: keys.plans, queryFn: () => unwrap(api.GET("/api/v1/plans")) })
}

/** Gives somebody a plan, as they are now: whoever changes them at the same moment is not overruled unseen. */
export async function givePlan(userId: string, plan: Plan | null, reason: string): Promise<Member> {
  const path = { user_id: userId }
  const { tag } = await unwrapTagged(api.GET("/api/v1/members/{user_id}", { params: { path } }))
  const params = { path, header: { "If-Match": tag } }
  return unwrap(api.PUT("/api/v1/members/{user_id}/plan", { params, body: { plan, reason } }))
}
