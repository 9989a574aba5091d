/** Bots: what they are set to, how they got there, and what is asked of them. */

import { useInfiniteQuery, useQuery, useQueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import { api, unwrap, unwrapTagged } from "./client"
import { keys, readAll } from "./queries"
import { mergeBot } from "./stream"
import type { Bot, BotChange, BotSettings, Page } from "./types"

const BOTS_MS = 15_000

export function useBots(accountId: Ref<string>): UseQueryReturnType<Bot[], Error> {
  return useQuery({
    queryKey: computed(() => keys.bots(accountId.value)),
    queryFn: () => readAll((cursor) => unwrap(api.GET("/api/v1/bots", { params: { query: { account_id: accountId.value, cursor } } }))),
    refetchInterval: BOTS_MS,
  })
}

/** Those of all accounts. */
export function useAllBots(): UseQueryReturnType<Bot[], Error> {
  return useQuery({
    queryKey: keys.allBots,
    queryFn: () => readAll((cursor) => unwrap(api.GET("/api/v1/bots", { params: { query: { cursor } } }))),
    refetchInterval: BOTS_MS,
  })
}

export function useBotLog(id: Ref<string>, open: Ref<boolean>) {
  return useQuery({
    queryKey: computed(() => keys.botLog(id.value)),
    queryFn: async () => (await unwrap(api.GET("/api/v1/bots/{bot_id}/log", { params: { path: { bot_id: id.value } } }))).items,
    enabled: open,
    refetchInterval: 3000,
  })
}

const PAPER_DEALS = 500

/** The newest that it has filled on paper, the newest first. */
export function usePaperDeals(id: Ref<string>, open: Ref<boolean>) {
  return useQuery({
    queryKey: computed(() => keys.paperDeals(id.value)),
    queryFn: async () =>
      (await unwrap(api.GET("/api/v1/bots/{bot_id}/paper-deals", { params: { path: { bot_id: id.value }, query: { limit: PAPER_DEALS } } }))).items,
    enabled: open,
    refetchInterval: 3000,
  })
}

/** Who changed what of its settings, the newest first. */
export function useBotChanges(id: Ref<string>, open: Ref<boolean>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.botChanges(id.value)),
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      unwrap(api.GET("/api/v1/bots/{bot_id}/changes", { params: { path: { bot_id: id.value }, query: { cursor: pageParam, limit: 20 } } })),
    getNextPageParam: (page: Page<BotChange>) => page.next_cursor ?? undefined,
    enabled: open,
    staleTime: 0,
  })
}

/** Everything that is asked of a bot. Each takes the answer into the lists. */
export function useBotDeeds() {
  const client = useQueryClient()
  const params = (bot: Pick<Bot, "id">) => ({ params: { path: { bot_id: bot.id } } })
  const keep = async (request: Promise<Bot>): Promise<Bot> => {
    const bot = await request
    mergeBot(client, bot)
    return bot
  }
  const keepChanged = async (request: Promise<Bot>): Promise<Bot> => {
    const bot = await keep(request)
    void client.invalidateQueries({ queryKey: keys.botChanges(bot.id) })
    void client.invalidateQueries({ queryKey: keys.customStrategies })
    return bot
  }

  return {
    start: (bot: Bot) => keep(unwrap(api.POST("/api/v1/bots/{bot_id}/start", params(bot)))),
    stop: (bot: Bot) => keep(unwrap(api.POST("/api/v1/bots/{bot_id}/stop", params(bot)))),
    pause: (bot: Bot) => keep(unwrap(api.POST("/api/v1/bots/{bot_id}/pause", params(bot)))),
    finish: (bot: Bot) => keep(unwrap(api.POST("/api/v1/bots/{bot_id}/finish", params(bot)))),
    create: (accountId: string, settings: BotSettings) =>
      keep(unwrap(api.POST("/api/v1/bots", { body: { account_id: accountId, ...settings } }))),
    /** As it is now, with the tag that `change` wants. */
    read: (bot: Pick<Bot, "id">) => unwrapTagged(api.GET("/api/v1/bots/{bot_id}", params(bot))),
    change: (bot: Pick<Bot, "id">, settings: Partial<BotSettings>, tag: string) =>
      keepChanged(unwrap(api.PATCH("/api/v1/bots/{bot_id}", { params: { path: { bot_id: bot.id }, header: { "If-Match": tag } }, body: settings }))),
    revert: (bot: Bot, change: BotChange) =>
      keepChanged(unwrap(api.POST("/api/v1/bots/{bot_id}/changes/{change_id}/revert", { params: { path: { bot_id: bot.id, change_id: change.id } } }))),
    remove: async (bot: Bot): Promise<void> => {
      await unwrap(api.DELETE("/api/v1/bots/{bot_id}", params(bot)))
      for (const key of [keys.bots(bot.account_id), keys.allBots]) {
        client.setQueryData<Bot[]>(key, (list) => list?.filter((each) => each.id !== bot.id))
      }
    },
  }
}
