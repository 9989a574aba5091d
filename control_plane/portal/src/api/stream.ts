/** The live stream: server-sent events into the cache, with a link state that the screens can show. */

import type { InfiniteData, QueryClient } from "@tanstack/vue-query"
import { readonly, ref } from "vue"
import { withAccount, withBot, withDeal, withDealInList, withOrder } from "./merge"
import { keys } from "./queries"
import type { Account, Bot, Deal, Order, Page } from "./types"

export type LinkState = "connecting" | "live" | "lost"
type OrderListener = (order: Order) => void

const FIRST_DELAY_MS = 1000
const LONGEST_DELAY_MS = 10_000

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
  let source: EventSource | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let delay = FIRST_DELAY_MS
  let missedEvents = false

  const on = <Body>(name: string, take: (body: Body) => void): void => {
    source?.addEventListener(name, (event) => take(JSON.parse((event as MessageEvent<string>).data) as Body))
  }

  const lose = (): void => {
    state.value = "lost"
    missedEvents = true
  }

  const connect = (): void => {
    source = new EventSource("/api/v1/stream")
    source.onopen = () => {
      state.value = "live"
      delay = FIRST_DELAY_MS
      if (missedEvents) void client.invalidateQueries()
      missedEvents = false
    }
    source.onerror = () => {
      lose()
      // The browser reconnects a broken link by itself, but gives up after an error answer.
      if (source?.readyState === EventSource.CLOSED) reconnect()
    }
    on<Account>("account", (account) => mergeAccount(client, account))
    on<Bot>("bot", (bot) => mergeBot(client, bot))
    on<{ account_id: string; deal: Deal }>("deal", (body) => mergeDeal(client, body.account_id, body.deal))
    on<Order>("order", (order) => {
      mergeOrder(client, order)
      for (const listener of orderListeners) listener(order)
    })
  }

  const reconnect = (): void => {
    source?.close()
    timer = setTimeout(connect, delay)
    delay = Math.min(delay * 2, LONGEST_DELAY_MS)
    // An ended session also refuses the stream; this finds out and leads to the sign-in.
    void client.invalidateQueries({ queryKey: keys.me })
  }

  // A link without a network stays open for minutes before anything notices; the browser knows at once.
  const onOffline = (): void => {
    clearTimeout(timer)
    source?.close()
    lose()
  }
  const onOnline = (): void => {
    onOffline()
    connect()
  }
  window.addEventListener("offline", onOffline)
  window.addEventListener("online", onOnline)

  connect()
  return () => {
    window.removeEventListener("offline", onOffline)
    window.removeEventListener("online", onOnline)
    clearTimeout(timer)
    source?.close()
    source = null
    state.value = "connecting"
  }
}
