/** What the statistics page reads: figures, the calendar of results, and how the log stands to the broker's book. */

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import { statisticsQuery, type Choice } from "../lib/statistics"
import { api, unwrap } from "./client"

export const statisticsKeys = {
  figures: (id: string, choice: Choice) => ["statistics", id, choice] as const,
  calendar: (id: string, month: string, choice: Choice) => ["calendar", id, month, choice] as const,
  books: (id: string) => ["books", id] as const,
}

const RENEWED_MS = 30_000

export function useStatistics(id: Ref<string>, choice: Ref<Choice>) {
  return useQuery({
    queryKey: computed(() => statisticsKeys.figures(id.value, choice.value)),
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/statistics", {
          params: { path: { account_id: id.value }, query: statisticsQuery(choice.value, new Date()) },
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: RENEWED_MS,
  })
}

export function useCalendar(id: Ref<string>, month: Ref<string>, choice: Ref<Choice>) {
  return useQuery({
    queryKey: computed(() => statisticsKeys.calendar(id.value, month.value, choice.value)),
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/calendar", {
          params: {
            path: { account_id: id.value },
            query: { month: month.value, ...(choice.value.symbol ? { symbol: choice.value.symbol } : {}) },
          },
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: RENEWED_MS,
  })
}

/** State of the comparison and its newest differences. */
export function useBooks(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => statisticsKeys.books(id.value)),
    queryFn: async () => {
      const params = { path: { account_id: id.value } }
      const [state, differences] = await Promise.all([
        unwrap(api.GET("/api/v1/accounts/{account_id}/reconciliation", { params })),
        unwrap(api.GET("/api/v1/accounts/{account_id}/differences", { params: { ...params, query: { limit: 20 } } })),
      ])
      return { state, differences: differences.items }
    },
    refetchInterval: 5000,
  })
}

/** Asks for a comparison of the log with the broker's book. */
export function useComparison(id: Ref<string>) {
  const client = useQueryClient()
  return async (): Promise<void> => {
    await unwrap(api.POST("/api/v1/accounts/{account_id}/reconciliation", { params: { path: { account_id: id.value } } }))
    await client.invalidateQueries({ queryKey: statisticsKeys.books(id.value) })
  }
}
