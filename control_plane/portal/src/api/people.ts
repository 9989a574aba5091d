/** The people of one's tenant. */

import { useQuery, type UseQueryReturnType } from "@tanstack/vue-query"
import { api, unwrap } from "./client"
import { keys } from "./queries"
import type { Invitation } from "./types"

export function useInvitations(): UseQueryReturnType<Invitation[], Error> {
  return useQuery({
    queryKey: keys.invitations,
    queryFn: async () => (await unwrap(api.GET("/api/v1/members/invitations"))).items,
  })
}
