import type { Order } from "../api/types"
import { digitsOf, formatPrice, formatVolume } from "./format"
import type { ToastTone } from "./toasts"

export interface News {
  tone: ToastTone
  title: string
  text: string
}

const DONE: Partial<Record<Order["kind"], string>> = {
  pending: "Placed",
  modify: "Changed",
  cancel: "Cancelled",
  close: "Closed",
  close_by: "Closed by another:",
}

/** What became of many orders of one request. */
export function batchNews(orders: readonly Order[]): News {
  const done = orders.filter((order) => order.state === "done").length
  const open = orders.filter((order) => !["done", "refused", "not_executed"].includes(order.state)).length
  if (orders.length === 0) return { tone: "info", title: "Nothing to do", text: "There was none of these." }
  const rest = orders.length - done - open
  const parts = [rest ? `${rest} not executed` : "", open ? `${open} not known yet` : ""].filter(Boolean)
  return { tone: rest ? "bad" : open ? "info" : "good", title: `${done} of ${orders.length} done`, text: parts.join(", ") }
}

/** What became of an order, as a headline and a sentence. */
export function orderNews(order: Order, digits?: number): News {
  const what = `${formatVolume(order.volume)} ${order.symbol}`
  switch (order.state) {
    case "done": {
      const at = order.price || order.wished_price
      const price = at ? formatPrice(at, digits ?? digitsOf(at)) : ""
      return { tone: "good", title: `${DONE[order.kind] ?? (order.side === "buy" ? "Bought" : "Sold")} ${what}`, text: price && `at ${price}` }
    }
    case "refused":
    case "not_executed":
      return { tone: "bad", title: `Not executed: ${what}`, text: order.message || order.retcode_name }
    case "pending":
    case "sent":
    case "unknown":
      return { tone: "info", title: `Sent: ${what}`, text: "Waiting for the broker's answer. It will not be sent twice." }
  }
}
