/** Which accounts follow which, how well, and who may follow. */

import { useInfiniteQuery, useQuery, useQueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import { api, unwrap } from "./client"
import { keys } from "./queries"
import type { CopiedPosition, CopiedTrade, Copier, CopyInvitation, Page } from "./types"

const COPYING_MS = 4000

export function useCopiers(): UseQueryReturnType<Copier[], Error> {
  return useQuery({
    queryKey: keys.copiers,
    queryFn: async () => (await unwrap(api.GET("/api/v1/copiers"))).items,
    refetchInterval: COPYING_MS,
  })
}

/** Each order at the follower, the newest first. */
export function useCopiedTrades(copierId: Ref<string>, wanted: Ref<boolean>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.copiedTrades(copierId.value)),
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/copiers/{copier_id}/trades", {
          params: { path: { copier_id: copierId.value }, query: { cursor: pageParam, limit: 25 } },
        }),
      ),
    getNextPageParam: (page: Page<CopiedTrade>) => page.next_cursor ?? undefined,
    enabled: wanted,
    refetchInterval: COPYING_MS,
  })
}

/** The leader's positions and what became of each, the newest first. */
export function useCopiedPositions(copierId: Ref<string>, wanted: Ref<boolean>): UseQueryReturnType<CopiedPosition[], Error> {
  return useQuery({
    queryKey: computed(() => keys.copiedPositions(copierId.value)),
    queryFn: async () => (await unwrap(api.GET("/api/v1/copiers/{copier_id}/positions", { params: { path: { copier_id: copierId.value } } }))).items,
    enabled: wanted,
    refetchInterval: COPYING_MS,
  })
}

export function useCopyInvitations(): UseQueryReturnType<CopyInvitation[], Error> {
  return useQuery({
    queryKey: keys.copyInvitations,
    queryFn: async () => (await unwrap(api.GET("/api/v1/copy-invitations"))).items,
  })
}

/** Pause, go on with, or end a copying. */
export function useCopierDeeds() {
  const client = useQueryClient()
  const carryOut = async (request: Promise<Copier>): Promise<void> => {
    try {
      const copier = await request
      client.setQueryData<Copier[]>(keys.copiers, (list) => list?.map((each) => (each.id === copier.id ? copier : each)))
    } finally {
      await client.invalidateQueries({ queryKey: keys.copiers })
    }
  }
  const params = (copier: Copier) => ({ params: { path: { copier_id: copier.id } } })
  return {
    pause: (copier: Copier) => carryOut(unwrap(api.POST("/api/v1/copiers/{copier_id}/pause", params(copier)))),
    resume: (copier: Copier) => carryOut(unwrap(api.POST("/api/v1/copiers/{copier_id}/resume", params(copier)))),
    stop: (copier: Copier) => carryOut(unwrap(api.POST("/api/v1/copiers/{copier_id}/stop", params(copier)))),
  }
}
