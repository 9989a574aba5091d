import type { InfiniteData } from "@tanstack/vue-query"
import { describe, expect, it } from "vitest"
import { withAccount, withBot, withDeal, withDealInList, withOrder } from "../src/api/merge"
import type { Page } from "../src/api/types"
import { account, bot, deal, order, terminal } from "./records"

const pages = <Item>(...lists: Item[][]): InfiniteData<Page<Item>, string | undefined> => ({
  pages: lists.map((items, index) => ({ items, next_cursor: index + 1 < lists.length ? `after-${index}` : null })),
  pageParams: lists.map((_, index) => (index === 0 ? undefined : `after-${index - 1}`)),
})

describe("accounts", () => {
  it("are replaced in place or added at the end", () => {
    const [a, b] = [account({ id: "acc_a" }), account({ id: "acc_b" })]
    const renamed = account({ id: "acc_a", label: "New" })
    expect(withAccount([a, b], renamed)).toEqual([renamed, b])
    expect(withAccount([a], b)).toEqual([a, b])
  })
  it("leave the list when they are removed", () => {
    const a = account()
    expect(withAccount([a], account({ terminal: terminal({ intent: "deleted" }) }))).toEqual([])
  })
  it("do not make a list where none was read yet", () => expect(withAccount(undefined, account())).toBeUndefined())
})

it("a bot's new state replaces the old one", () => {
  expect(withBot([bot({ phase: "starting" })], bot({ phase: "running" }))).toEqual([bot({ phase: "running" })])
})

describe("deals", () => {
  const [first, second, third] = [1, 2, 3].map((ticket) => deal({ ticket, broker_time_msc: ticket * 1000 })) as [
    ReturnType<typeof deal>,
    ReturnType<typeof deal>,
    ReturnType<typeof deal>,
  ]
  it("join at their place in time, newest first", () => {
    expect(withDealInList([second, first], third)).toEqual([third, second, first])
    expect(withDealInList([third, first], second)).toEqual([third, second, first])
    expect(withDealInList([third, second], first)).toEqual([third, second, first])
  })
  it("are never shown twice, however often they are told", () => {
    const once = withDeal(pages([second], [first]), third)
    expect(once).toEqual(pages([third, second], [first]))
    expect(withDeal(once, third)).toBe(once)
    expect(withDeal(once, first)).toBe(once)
  })
  it("do not touch the value that was there", () => {
    const before = pages([first])
    withDeal(before, second)
    expect(before).toEqual(pages([first]))
  })
})

describe("orders", () => {
  it("come first when new and change in place when known", () => {
    const sent = order({ id: "ord_2", state: "sent" })
    const done = order({ id: "ord_2", state: "done" })
    const other = order({ id: "ord_1" })
    expect(withOrder(pages([other]), sent)).toEqual(pages([sent, other]))
    expect(withOrder(pages([other], [sent]), done)).toEqual(pages([other], [done]))
  })
})
