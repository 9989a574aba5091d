/** The live stream: server-sent events into the cache, with a link state that the screens can show. */

import type { InfiniteData, QueryClient } from "@tanstack/vue-query"
import { readonly, ref } from "vue"
import { keepLink, type LinkState } from "./liveLink"
import { withAccount, withBot, withDeal, withDealInList, withOrder } from "./merge"
import { keys } from "./queries"
import type { Account, Bot, Deal, Order, Page } from "./types"

type OrderListener = (order: Order) => void

const state = ref<LinkState>("connecting")
const orderListeners = new Set<OrderListener>()

export function useLink() {
  return { state: readonly(state) }
}

/** Calls `listener` with each order that changes; returns how to end that. */
export function onOrder(listener: OrderListener): () => void {
  orderListeners.add(listener)
  return () => orderListeners.delete(listener)
}

type Pages<Item> = InfiniteData<Page<Item>, string | undefined>

export function mergeAccount(client: QueryClient, account: Account): void {
  client.setQueryData<Account>(keys.account(account.id), account)
  client.setQueryData<Account[]>(keys.accounts, (list) => withAccount(list, account))
}

export function mergeBot(client: QueryClient, bot: Bot): void {
  client.setQueryData<Bot[]>(keys.bots(bot.account_id), (list) => withBot(list, bot))
  client.setQueryData<Bot[]>(keys.allBots, (list) => withBot(list, bot))
}

function mergeDeal(client: QueryClient, accountId: string, deal: Deal): void {
  client.setQueryData<Pages<Deal>>(keys.deals(accountId), (data) => withDeal(data, deal))
  client.setQueryData<Deal[]>(keys.recentDeals(accountId), (list) => withDealInList(list, deal))
  void client.invalidateQueries({ queryKey: keys.positions(accountId) })
}

export function mergeOrder(client: QueryClient, order: Order): void {
  client.setQueryData<Pages<Order>>(keys.orders(order.account_id), (data) => withOrder(data, order))
}

/** Opens the stream and keeps it open; returns how to close it. */
export function openStream(client: QueryClient): () => void {
  return keepLink({
    open: (url) => new EventSource(url),
    take: {
      account: (body) => mergeAccount(client, body as Account),
      bot: (body) => mergeBot(client, body as Bot),
      deal: (body) => {
        const { account_id, deal } = body as { account_id: string; deal: Deal }
        mergeDeal(client, account_id, deal)
      },
      notice: () => void client.invalidateQueries({ queryKey: keys.alerts }),
      order: (body) => {
        mergeOrder(client, body as Order)
        for (const listener of orderListeners) listener(body as Order)
      },
      guard: (body) => {
        const { account_id } = body as { account_id: string }
        void client.invalidateQueries({ queryKey: keys.guard(account_id) })
        void client.invalidateQueries({ queryKey: ["kill-switch"] })
      },
    },
    show: (now) => (state.value = now),
    readAnew: () => void client.invalidateQueries(),
    // An ended session also refuses the stream; this finds out and leads to the sign-in.
    refused: () => void client.invalidateQueries({ queryKey: keys.me }),
  })
}
