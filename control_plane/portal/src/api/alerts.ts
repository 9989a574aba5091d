/** What the farm has told the reader, and what they want to be told where. */

import { useInfiniteQuery, useQuery, useQueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import type { SettableAlerts } from "../lib/alerts"
import { api, unwrap, unwrapTagged, type Tagged } from "./client"
import { keys } from "./queries"
import type { AlertSettings, Delivery, Page, Telegram, Threshold, Webhook } from "./types"

const SOON_MS = 1500
const NOW_AND_THEN_MS = 15_000

export function useAlerts() {
  return useQuery({ queryKey: keys.alerts, queryFn: () => unwrap(api.GET("/api/v1/alerts")), refetchInterval: 60_000 })
}

export function useAlertSettings(): UseQueryReturnType<Tagged<AlertSettings>, Error> {
  return useQuery({ queryKey: keys.alertSettings, queryFn: () => unwrapTagged(api.GET("/api/v1/alerts/settings")) })
}

export function useThresholds(): UseQueryReturnType<Threshold[], Error> {
  return useQuery({ queryKey: keys.thresholds, queryFn: async () => (await unwrap(api.GET("/api/v1/alerts/thresholds"))).items })
}

/** Asked again and again while a code `waits` to be sent to the bot. */
export function useTelegram(waits: Ref<boolean>): UseQueryReturnType<Telegram, Error> {
  return useQuery({
    queryKey: keys.telegram,
    queryFn: () => unwrap(api.GET("/api/v1/alerts/telegram")),
    refetchInterval: computed(() => (waits.value ? SOON_MS : false)),
  })
}

export function useWebhooks(): UseQueryReturnType<Webhook[], Error> {
  return useQuery({
    queryKey: keys.webhooks,
    queryFn: async () => (await unwrap(api.GET("/api/v1/webhooks"))).items,
    refetchInterval: NOW_AND_THEN_MS,
  })
}

/** The newest first; quickly renewed while one is on its way. */
export function useDeliveries(webhookId: Ref<string>, open: Ref<boolean>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.deliveries(webhookId.value)),
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/webhooks/{webhook_id}/deliveries", {
          params: { path: { webhook_id: webhookId.value }, query: { cursor: pageParam, limit: 20 } },
        }),
      ),
    getNextPageParam: (page: Page<Delivery>) => page.next_cursor ?? undefined,
    enabled: open,
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some((each) => each.state === "pending")) ? SOON_MS : NOW_AND_THEN_MS,
  })
}

/** Saves all settings, unless they have been changed since the `tag` was seen: then they are read anew. */
export function useSaveAlertSettings() {
  const client = useQueryClient()
  return async (body: SettableAlerts, tag: string): Promise<void> => {
    const params = { header: { "If-Match": tag } }
    try {
      client.setQueryData<Tagged<AlertSettings>>(keys.alertSettings, await unwrapTagged(api.PUT("/api/v1/alerts/settings", { params, body })))
    } catch (error) {
      void client.invalidateQueries({ queryKey: keys.alertSettings })
      throw error
    }
  }
}
