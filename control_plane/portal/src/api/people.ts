/** The people of one's tenant. */

import { useQuery, type UseQueryReturnType } from "@tanstack/vue-query"
import type { Ref } from "vue"
import { api, unwrap } from "./client"
import { keys, readAll } from "./queries"
import type { Invitation, Member } from "./types"

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
