import type { Order } from "../api/types"
import { digitsOf, formatPrice, formatVolume } from "./format"
import type { ToastTone } from "./toasts"

export interface News {
  tone: ToastTone
  title: string
  text: string
}

/** What became of an order, as a headline and a sentence. */
export function orderNews(order: Order, digits?: number): News {
  const what = `${formatVolume(order.volume)} ${order.symbol}`
  switch (order.state) {
    case "done": {
      const price = formatPrice(order.price, digits ?? digitsOf(order.price))
      const verb = order.kind === "close" ? "Closed" : order.side === "buy" ? "Bought" : "Sold"
      return { tone: "good", title: `${verb} ${what}`, text: `at ${price}` }
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
