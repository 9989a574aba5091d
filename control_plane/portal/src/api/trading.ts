/** Sending orders from the portal, and telling the trader what became of them. */

import { useQueryClient } from "@tanstack/vue-query"
import { onScopeDispose, readonly, ref, type Ref } from "vue"
import { Attempt } from "../lib/attempt"
import { orderNews } from "../lib/orderNews"
import { useToasts } from "../lib/toasts"
import { api, asProblem, Problem, unwrap } from "./client"
import { keys } from "./queries"
import { mergeOrder, onOrder } from "./stream"
import type { Order, Side } from "./types"

export interface OrderWish {
  symbol: string
  side: Side
  volume: number
  stop_loss?: number
  take_profit?: number
}

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
  async function send(wish: unknown, request: (key: string) => Promise<Order>): Promise<void> {
    if (busy.value) return
    busy.value = true
    try {
      const order = await withSecondTry(() => request(attempt.keyFor(wish)))
      attempt.answered()
      if (!SETTLED.has(order.state)) awaited.add(order.id)
      mergeOrder(client, order)
      announce(order)
      void client.invalidateQueries({ queryKey: keys.positions(accountId.value) })
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

  const place = (wish: OrderWish): Promise<void> =>
    send(wish, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/orders", {
          params: { path: { account_id: accountId.value }, header: { "Idempotency-Key": key } },
          body: { comment: "", ...wish },
        }),
      ),
    )

  const close = (ticket: number): Promise<void> =>
    send({ close: ticket }, (key) =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/positions/{ticket}/close", {
          params: { path: { account_id: accountId.value, ticket }, header: { "Idempotency-Key": key } },
          body: {},
        }),
      ),
    )

  return { busy: readonly(busy), place, close }
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
