import { describe, expect, it } from "vitest"
import { chosen, closeByText, closingText, opposites } from "../src/lib/closing"
import { brokerSeconds, expirationsOf, stopPrice, typesOf, wishOf, type TicketForm } from "../src/lib/orderForm"
import { batchNews, orderNews } from "../src/lib/orderNews"
import { eurusd, order, position } from "./records"

const form = (change: Partial<TicketForm> = {}): TicketForm => ({
  type: "market",
  volume: "0.10",
  price: "",
  stopLimit: "",
  stopLoss: "",
  takeProfit: "",
  unit: "price",
  expiration: "gtc",
  end: "",
  deviation: "",
  ...change,
})

describe("the ticket", () => {
  it("offers what the symbol takes", () => {
    expect(typesOf(1 | 8).map((each) => each.value)).toEqual(["market", "stop_limit"])
    expect(expirationsOf(4).map((each) => each.value)).toEqual(["specified"])
  })
  it("means a market order without prices", () => {
    expect(wishOf(form({ price: "1.2", expiration: "day" }), "buy", eurusd)).toEqual({
      symbol: "EURUSD",
      side: "buy",
      volume: 0.1,
      type: "market",
      expiration: "gtc",
      comment: "",
    })
  })
  it("means nothing while a needed number is missing", () => {
    expect(wishOf(form({ type: "limit" }), "buy", eurusd)).toBeNull()
    expect(wishOf(form({ type: "stop_limit", price: "1.2" }), "buy", eurusd)).toBeNull()
    expect(wishOf(form({ type: "limit", price: "1.2", expiration: "specified" }), "buy", eurusd)).toBeNull()
    expect(wishOf(form({ volume: "0" }), "buy", eurusd)).toBeNull()
  })
  it("counts points from where the order would fill or wait, to the side of each stop", () => {
    const points = { stopLoss: "100", takeProfit: "200", unit: "points" } as const
    expect(wishOf(form(points), "buy", eurusd)).toMatchObject({ stop_loss: 1.09912, take_profit: 1.10212 })
    expect(wishOf(form(points), "sell", eurusd)).toMatchObject({ stop_loss: 1.101, take_profit: 1.098 })
    const waiting = { ...points, type: "stop_limit", price: "1.2", stopLimit: "1.19" } as const
    expect(wishOf(form(waiting), "buy", eurusd)).toMatchObject({ stop_loss: 1.189, take_profit: 1.192 })
  })
  it("leaves stops that are prices alone", () => {
    expect(stopPrice("1,05", "price", "loss", "buy", 1.1, eurusd)).toBe(1.05)
    expect(stopPrice("", "points", "loss", "buy", 1.1, eurusd)).toBeNull()
  })
  it("takes a typed time as the broker's own", () => {
    expect(brokerSeconds("2026-03-02T10:30")).toBe(1772447400)
    expect(brokerSeconds("")).toBeNull()
  })
})

describe("closing many", () => {
  const many = [position({ ticket: 1, profit: "2.00" }), position({ ticket: 2, profit: "-3.50", side: "sell", volume: 0.3 })]
  it("means those in profit, in loss or of a symbol", () => {
    expect(chosen(many, "profitable", "").map((each) => each.ticket)).toEqual([1])
    expect(chosen(many, "losing", "").map((each) => each.ticket)).toEqual([2])
    expect(chosen(many, "all", "GBPUSD")).toEqual([])
  })
  it("says what will happen", () => {
    expect(closingText(many)).toMatch(/^2 positions with 0\.40 lots in all, now at −1\.50/)
    expect(closingText([])).toMatch(/none/)
    expect(closeByText(many[0]!, many[1]!)).toMatch(/0\.10 lots of both.*0\.20 lots of the sell stay open/)
    expect(opposites(many[0]!, many)).toEqual([many[1]])
  })
})

describe("news", () => {
  it("says what was done to an order", () => {
    expect(orderNews(order({ kind: "pending", price: 0, wished_price: 1.05 }), 5)).toMatchObject({ title: "Placed 0.10 EURUSD", text: "at 1.05000" })
    expect(orderNews(order({ kind: "cancel", price: 0 }))).toMatchObject({ tone: "good", text: "" })
  })
  it("of many counts each outcome and never hides an unknown one", () => {
    const news = batchNews([order(), order({ state: "refused" }), order({ state: "unknown" })])
    expect(news).toEqual({ tone: "bad", title: "1 of 3 done", text: "1 not executed, 1 not known yet" })
    expect(batchNews([]).title).toBe("Nothing to do")
  })
})
