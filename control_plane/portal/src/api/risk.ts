/** Limits and the guard of an account, and kill switches. */

import { useInfiniteQuery, useQuery, useQueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, ref, type Ref } from "vue"
import { api, unwrap, unwrapTagged, type Tagged } from "./client"
import { keys } from "./queries"
import type { Guard, KillMode, KillReport, KillSwitch, Limits, Page } from "./types"
import type { Reach } from "../lib/kills"

const REPORT_MS = 1000
const SLOWLY_MS = 15_000

export function useGuard(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.guard(id.value)),
    queryFn: async (): Promise<{ guard: Guard; tag: string }> => {
      const params = { path: { account_id: id.value } }
      const { data: guard, tag } = await unwrapTagged(api.GET("/api/v1/accounts/{account_id}/guard", { params }))
      return { guard, tag }
    },
    // The stream says when something changes; this keeps the gauges moving.
    refetchInterval: 3000,
  })
}

export function useLimitPresets(wanted: Ref<boolean>) {
  return useQuery({
    queryKey: keys.limitPresets,
    queryFn: async () => (await unwrap(api.GET("/api/v1/limit-presets"))).items,
    enabled: wanted,
    staleTime: Infinity,
  })
}

/** How far every account has come, renewed until all have answered. */
export function useKillReport(id: Ref<string | null>) {
  return useQuery({
    queryKey: computed(() => keys.killSwitch(id.value ?? "")),
    queryFn: () => unwrap(api.GET("/api/v1/kill-switches/{kill_id}", { params: { path: { kill_id: id.value ?? "" } } })),
    enabled: computed(() => id.value !== null),
    refetchInterval: (query) => (query.state.data?.finished ? false : REPORT_MS),
  })
}

/** Everything that changes what an account may do. */
export function useGuardActions(id: Ref<string>) {
  const client = useQueryClient()
  const busy = ref(false)

  async function during<Result>(work: () => Promise<Result>): Promise<Result> {
    busy.value = true
    try {
      return await work()
    } finally {
      busy.value = false
      void client.invalidateQueries({ queryKey: keys.guard(id.value) })
    }
  }
  const path = () => ({ account_id: id.value })

  const save = (limits: Limits, tag: string): Promise<Guard> =>
    during(() =>
      unwrap(api.PUT("/api/v1/accounts/{account_id}/guard", { params: { path: path(), header: { "If-Match": tag } }, body: { limits } })),
    )
  const kill = (mode: KillMode): Promise<KillReport> =>
    during(() => unwrap(api.POST("/api/v1/accounts/{account_id}/kill", { params: { path: path() }, body: { mode, reason: "" } })))
  const release = (killId: string): Promise<KillReport> =>
    during(() => unwrap(api.POST("/api/v1/kill-switches/{kill_id}/release", { params: { path: { kill_id: killId } } })))
  const rearm = (): Promise<Guard> =>
    during(() => unwrap(api.POST("/api/v1/accounts/{account_id}/guard/re-arm", { params: { path: path() } })))

  return { busy, save, kill, release, rearm }
}

/** Those over oneself and one's accounts or, for those who look after others, over everybody of the tenant. Newest first. */
export function useKillSwitches() {
  return useInfiniteQuery({
    queryKey: keys.killSwitches,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => unwrap(api.GET("/api/v1/kill-switches", { params: { query: { cursor: pageParam, limit: 20 } } })),
    getNextPageParam: (page: Page<KillSwitch>) => page.next_cursor ?? undefined,
    refetchInterval: (query) => (query.state.data?.pages.some((page) => page.items.some(isUnderWay)) ? REPORT_MS : SLOWLY_MS),
  })
}

const isUnderWay = (kill: KillSwitch): boolean => !kill.released_at && !kill.finished

/** What holds for every account of one's tenant. */
export function useLimitDefaults(): UseQueryReturnType<Tagged<Limits>, Error> {
  return useQuery({
    queryKey: keys.limitDefaults,
    queryFn: async () => {
      const { data, tag } = await unwrapTagged(api.GET("/api/v1/limit-defaults"))
      return { data: data.limits, tag }
    },
  })
}

/** Stop many accounts at once, let them trade again, and what holds for all of a tenant. */
export function useKillDeeds() {
  const client = useQueryClient()

  async function renewed<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work
    } finally {
      await client.invalidateQueries({ queryKey: keys.killSwitches })
      void client.invalidateQueries({ queryKey: ["kill-switch"] })
      void client.invalidateQueries({ queryKey: ["guard"] })
    }
  }
  const request = ({ scope, memberId }: Pick<Reach, "scope" | "memberId">, body: { mode: KillMode; reason: string }): Promise<KillReport> => {
    if (memberId !== undefined) return unwrap(api.POST("/api/v1/members/{user_id}/kill", { params: { path: { user_id: memberId } }, body }))
    if (scope === "fleet") return unwrap(api.POST("/api/v1/kill-switches/fleet", { body }))
    return scope === "tenant" ? unwrap(api.POST("/api/v1/kill-switches/tenant", { body })) : unwrap(api.POST("/api/v1/kill-switches", { body }))
  }

  return {
    throwOver: (reach: Pick<Reach, "scope" | "memberId">, mode: KillMode, reason: string) => renewed(request(reach, { mode, reason })),
    release: (killId: string) => renewed(unwrap(api.POST("/api/v1/kill-switches/{kill_id}/release", { params: { path: { kill_id: killId } } }))),
    setDefaults: async (limits: Limits, tag: string): Promise<void> => {
      try {
        await unwrap(api.PUT("/api/v1/limit-defaults", { params: { header: { "If-Match": tag } }, body: { limits } }))
      } finally {
        await client.invalidateQueries({ queryKey: keys.limitDefaults })
      }
      void client.invalidateQueries({ queryKey: ["guard"] })
    },
  }
}
