/** Limits, the guard and the kill switch of an account. */

import { useQuery, useQueryClient } from "@tanstack/vue-query"
import { computed, ref, type Ref } from "vue"
import { api, unwrap } from "./client"
import { keys } from "./queries"
import type { Guard, KillReport, Limits } from "./types"

const REPORT_MS = 1000

export function useGuard(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.guard(id.value)),
    queryFn: async (): Promise<{ guard: Guard; tag: string }> => {
      const answer = await api.GET("/api/v1/accounts/{account_id}/guard", { params: { path: { account_id: id.value } } })
      const guard = await unwrap(Promise.resolve(answer))
      return { guard, tag: answer.response.headers.get("ETag") ?? "*" }
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
  const kill = (mode: "no_new_orders" | "close_all"): Promise<KillReport> =>
    during(() => unwrap(api.POST("/api/v1/accounts/{account_id}/kill", { params: { path: path() }, body: { mode, reason: "" } })))
  const release = (killId: string): Promise<KillReport> =>
    during(() => unwrap(api.POST("/api/v1/kill-switches/{kill_id}/release", { params: { path: { kill_id: killId } } })))
  const rearm = (): Promise<Guard> =>
    during(() => unwrap(api.POST("/api/v1/accounts/{account_id}/guard/re-arm", { params: { path: path() } })))

  return { busy, save, kill, release, rearm }
}
