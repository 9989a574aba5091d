/** Sending orders from the portal, and telling the trader what became of them. */

import { useQueryClient } from "@tanstack/vue-query"
import { onScopeDispose, readonly, ref, type Ref } from "vue"
import { Attempt } from "../lib/attempt"
import type { Which } from "../lib/closing"
import type { Expiration, OrderWish } from "../lib/orderForm"
import { batchNews, orderNews } from "../lib/orderNews"
import { useToasts } from "../lib/toasts"
import { api, asProblem, Problem, unwrap } from "./client"
import { keys } from "./queries"
import { mergeOrder, onOrder } from "./stream"
import type { Order, OrderBatch } from "./types"

export interface Stops {
  stop_loss: number | null
  take_profit: number | null
}

export interface PendingChange extends Stops {
  price: number
  stop_limit_price: number | null
  expiration: Expiration | null
  expires_broker_time: number | null
}

export type Trading = ReturnType<typeof useTrading>

const SETTLED: ReadonlySet<Order["state"]> = new Set<Order["state"]>(["done", "refused", "not_executed"])

export function useTrading(accountId: Ref<string>, digitsFor: (symbol: string) => number | undefined) {
  const client = useQueryClient()
  const { show } = useToasts()
  const attempt = new Attempt()
  const busy = ref(false)
  /** Orders whose outcome was not known yet when the farm answered. */
  const awaited = new Set<string>()

  const announce = (order: Order): void => {
    const news = orderNews(order, digitsFor(order.symbol))
    show(news.tone, news.title, news.text)
  }

  onScopeDispose(
    onOrder((order) => {
      if (SETTLED.has(order.state) && awaited.delete(order.id)) announce(order)
    }),
  )

  /** Throws `Problem` when the input was refused before anything was sent. */
  async function carryOut<Answer>(
    wish: unknown,
    request: (key: string) => Promise<Answer>,
    told: (answer: Answer) => void,
  ): Promise<void> {
    if (busy.value) return
    busy.value = true
    try {
      const answer = await withSecondTry(() => request(attempt.keyFor(wish)))
      attempt.answered()
      told(answer)
      void client.invalidateQueries({ queryKey: keys.positions(accountId.value) })
      void client.invalidateQueries({ queryKey: keys.pendingOrders(accountId.value) })
    } catch (error) {
      const problem = asProblem(error)
      if (outcomeUnknown(problem)) {
        show("bad", "Outcome not known", "No answer came. Send it again: the farm never carries out the same order twice.")
      } else {
        attempt.answered()
        show("bad", "Not sent", problem.detail)
      }
      throw problem
    } finally {
      busy.value = false
    }
  }

  function keep(order: Order): void {
    if (!SETTLED.has(order.state)) awaited.add(order.id)
    mergeOrder(client, order)
  }

  const send = (wish: unknown, request: (key: string) => Promise<Order>): Promise<void> =>
    carryOut(wish, request, (order) => {
      keep(order)
      announce(order)
    })

  const sendMany = (wish: unknown, request: (key: string) => Promise<OrderBatch>): Promise<void> =>
    carryOut(wish, request, ({ items }) => {
      items.forEach(keep)
      const news = batchNews(items)
      show(news.tone, news.title, news.text)
    })

  const account = () => ({ account_id: accountId.value })
  const headers = (key: string) => ({ "Idempotency-Key": key })

  const place = (wish: OrderWish): Promise<void> =>
    send(wish, (key) =>
      unwrap(api.POST("/api/v1/accounts/{account_id}/orders", { params: { path: account(), header: headers(key) }, body: wish })),
    )

  /** `volume` in lots; all of it when left out. */
  const close = (ticket: number, volume?: number): Promise<void> =>
    send({ close: ticket, volume }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/positions/{ticket}/close", {
          params: { path: { ...account(), ticket }, header: headers(key) },
          body: volume === undefined ? {} : { volume },
        }),
      ),
    )

  const closeBy = (ticket: number, positionBy: number): Promise<void> =>
    send({ closeBy: ticket, positionBy }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/positions/{ticket}/close-by", {
          params: { path: { ...account(), ticket }, header: headers(key) },
          body: { position_by: positionBy },
        }),
      ),
    )

  const setStops = (ticket: number, stops: Stops): Promise<void> =>
    send({ stops: ticket, ...stops }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/positions/{ticket}/modify", {
          params: { path: { ...account(), ticket }, header: headers(key) },
          body: stops,
        }),
      ),
    )

  const changePending = (ticket: number, change: PendingChange): Promise<void> =>
    send({ change: ticket, ...change }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/pending-orders/{ticket}/modify", {
          params: { path: { ...account(), ticket }, header: headers(key) },
          body: change,
        }),
      ),
    )

  const cancel = (ticket: number): Promise<void> =>
    send({ cancel: ticket }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/pending-orders/{ticket}/cancel", {
          params: { path: { ...account(), ticket }, header: headers(key) },
          body: {},
        }),
      ),
    )

  const closeAll = (which: Which, symbol: string): Promise<void> =>
    sendMany({ closeAll: which, symbol }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/positions/close-all", {
          params: { path: account(), header: headers(key) },
          body: { which, symbol: symbol || null },
        }),
      ),
    )

  const cancelAll = (): Promise<void> =>
    sendMany("cancelAll", (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/pending-orders/cancel-all", {
          params: { path: account(), header: headers(key) },
          body: {},
        }),
      ),
    )

  return { busy: readonly(busy), place, close, closeBy, setStops, changePending, cancel, closeAll, cancelAll }
}

/** Say what became of an order that the farm could not find out. */
export function useResolution(accountId: Ref<string>) {
  const client = useQueryClient()
  return async (order: Order, happened: boolean): Promise<void> => {
    const path = { account_id: accountId.value, order_id: order.id }
    const settled = await unwrap(
      api.POST("/api/v1/accounts/{account_id}/orders/{order_id}/resolve", { params: { path }, body: { happened, note: "" } }),
    )
    mergeOrder(client, settled)
  }
}

/** The request may have arrived although no good answer did. */
function outcomeUnknown(problem: Problem): boolean {
  return problem.status === 0 || problem.status >= 500
}

/** A broken link gets one more try; the key makes that safe. */
async function withSecondTry<Result>(request: () => Promise<Result>): Promise<Result> {
  try {
    return await request()
  } catch (error) {
    if (error instanceof Problem && error.status === 0) return request()
    throw error
  }
}
