import { describe, expect, it } from "vitest"
import { newRequestId, Problem, problemFrom, unwrap } from "../src/api/client"
import { shouldRetry } from "../src/api/queries"
import { orderNews } from "../src/lib/orderNews"
import { order } from "./records"

describe("a refusal", () => {
  it("is read from problem+json with the words for each field", () => {
    const problem = problemFrom(422, {
      code: "validation_failed",
      detail: "Some fields need a correction.",
      retryable: false,
      errors: [{ field: "volume", message: "Not on the step." }, "noise", null],
    })
    expect(problem).toMatchObject({ status: 422, code: "validation_failed", detail: "Some fields need a correction." })
    expect(problem.fields).toEqual({ volume: "Not on the step." })
  })
  it("that is the farm's own mistake names the id that its logs have", () => {
    expect(problemFrom(500, { detail: "A mistake." }, "web_0123").detail).toBe("A mistake. Reference: web_0123")
    expect(problemFrom(422, { detail: "Not valid." }, "web_0123").detail).toBe("Not valid.")
  })
  it("without a body still is a sentence", () => {
    expect(problemFrom(502, "<html>Bad gateway</html>").detail).toMatch(/try again/)
    expect(problemFrom(403, undefined).code).toBe("http_403")
  })
})

describe("a request", () => {
  it("has an id that the farm takes, each time another", () => {
    const ids = [newRequestId(), newRequestId()]
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{8,64}$/)
    expect(new Set(ids).size).toBe(2)
  })
  it("that finds nobody is a problem with status 0", async () => {
    const lost = unwrap(Promise.reject(new TypeError("Failed to fetch")))
    await expect(lost).rejects.toMatchObject({ status: 0, code: "unreachable", retryable: true })
  })
  it("that is answered well gives the body", async () => {
    await expect(unwrap(Promise.resolve({ data: 7, response: new Response() }))).resolves.toBe(7)
  })
  it("is repeated only where that can help", () => {
    expect(shouldRetry(0, new Problem(503, "x", "x", true))).toBe(true)
    expect(shouldRetry(0, new Problem(0, "x", "x", true))).toBe(true)
    expect(shouldRetry(0, new Problem(404, "x", "x", false))).toBe(false)
    expect(shouldRetry(2, new Problem(503, "x", "x", true))).toBe(false)
  })
})

describe("news of an order", () => {
  it("names what happened and the price", () => {
    expect(orderNews(order({ price: 1.1 }), 5)).toEqual({ tone: "good", title: "Bought 0.10 EURUSD", text: "at 1.10000" })
    expect(orderNews(order({ kind: "close", side: "sell", price: 1.1 }), 5).title).toBe("Closed 0.10 EURUSD")
    expect(orderNews(order({ side: "sell" }), 5).title).toBe("Sold 0.10 EURUSD")
  })
  it("gives a refusal in the broker's words", () => {
    const refused = order({ state: "refused", message: "Not enough money.", price: 0 })
    expect(orderNews(refused)).toEqual({ tone: "bad", title: "Not executed: 0.10 EURUSD", text: "Not enough money." })
  })
  it("does not call an unknown outcome a failure", () => {
    expect(orderNews(order({ state: "unknown" })).tone).toBe("info")
  })
})
