/** Lays one record from the live stream over what the cache holds. Pure: the old value stays as it is. */

import type { InfiniteData } from "@tanstack/vue-query"
import type { Account, Bot, Deal, Order, Page } from "./types"

function withRecord<Item extends { id: string }>(list: Item[], record: Item): Item[] {
  return list.some((item) => item.id === record.id)
    ? list.map((item) => (item.id === record.id ? record : item))
    : [...list, record]
}

/** A removed account leaves the list. */
export function withAccount(list: Account[] | undefined, account: Account): Account[] | undefined {
  if (!list) return list
  return account.terminal.intent === "deleted" ? list.filter((item) => item.id !== account.id) : withRecord(list, account)
}

export function withBot(list: Bot[] | undefined, bot: Bot): Bot[] | undefined {
  return list && withRecord(list, bot)
}

/** Deals never change: a known ticket is kept, a new one goes to its place in time (newest first). */
export function withDealInList(list: Deal[] | undefined, deal: Deal): Deal[] | undefined {
  if (!list || list.some((item) => item.ticket === deal.ticket)) return list
  const place = list.findIndex((item) => item.broker_time_msc <= deal.broker_time_msc)
  return place < 0 ? [...list, deal] : [...list.slice(0, place), deal, ...list.slice(place)]
}

type Pages<Item> = InfiniteData<Page<Item>, string | undefined>

/** The new deal joins the first page; its cursor still points to what follows, so nothing is shown twice or skipped. */
export function withDeal(data: Pages<Deal> | undefined, deal: Deal): Pages<Deal> | undefined {
  const first = data?.pages[0]
  if (!data || !first || data.pages.some((page) => page.items.some((item) => item.ticket === deal.ticket))) return data
  const items = withDealInList(first.items, deal) ?? first.items
  return { ...data, pages: [{ ...first, items }, ...data.pages.slice(1)] }
}

/** An order changes its state in place; a new one comes first. */
export function withOrder(data: Pages<Order> | undefined, order: Order): Pages<Order> | undefined {
  const first = data?.pages[0]
  if (!data || !first) return data
  const known = data.pages.some((page) => page.items.some((item) => item.id === order.id))
  if (!known) return { ...data, pages: [{ ...first, items: [order, ...first.items] }, ...data.pages.slice(1)] }
  const replace = (page: Page<Order>): Page<Order> => ({
    ...page,
    items: page.items.map((item) => (item.id === order.id ? order : item)),
  })
  return { ...data, pages: data.pages.map(replace) }
}
