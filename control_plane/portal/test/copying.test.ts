import { describe, expect, it } from "vitest"
import type { CopiedPosition, CopiedTrade, SetCopyRules } from "../src/api/types"
import { copierStatus, copyForm, copyProblems, copyWords, lagText, lastProblem, parseSymbolMap, rulesOf, slippageText, USUAL_RULES } from "../src/lib/copying"

describe("the form of the rules", () => {
  it("gives back what it was given", () => {
    const rules: SetCopyRules = {
      ...USUAL_RULES,
      scaling: "risk",
      value: "0.5",
      symbols: ["EURUSD", "XAUUSD"],
      symbol_map: { XAUUSD: "GOLD", US30: "DJ30.cash" },
      most_slippage_points: 0,
      stop_at_drawdown_percent: null,
    }
    expect(rulesOf(copyForm(rules))).toEqual(rules)
    expect(rulesOf(copyForm(USUAL_RULES))).toEqual(USUAL_RULES)
    expect(copyProblems(copyForm(rules))).toEqual({})
  })

  it.each([
    [{ value: "0" }, "value"],
    [{ value: "-1" }, "value"],
    [{ mostLots: "lots" }, "most_lots"],
    [{ mostPositions: "1.5" }, "most_positions"],
    [{ mostDelay: "0" }, "most_delay_seconds"],
    [{ mostSlippage: "1,5" }, "most_slippage_points"],
    [{ stopAtDrawdown: "101" }, "stop_at_drawdown_percent"],
    [{ symbolMap: "XAUUSD GOLD" }, "symbol_map"],
  ])("does not take %o", (change, field) => {
    expect(Object.keys(copyProblems({ ...copyForm(USUAL_RULES), ...change }))).toEqual([field])
  })
})

describe("names that differ", () => {
  it("are pairs on lines of their own", () => expect(parseSymbolMap("XAUUSD = GOLD\n\nUS30=DJ30.cash")).toEqual({ XAUUSD: "GOLD", US30: "DJ30.cash" }))
  it("are refused when one is named twice", () => expect(parseSymbolMap("A=B\nA=C")).toBeNull())
  it.each(["A", "=B", "A = B C"])("are not %s", (text) => expect(parseSymbolMap(text)).toBeNull())
})

it("rules are said in words", () => {
  const words = copyWords({ ...USUAL_RULES, value: "0.5000", reverse: true, symbol_map: { A: "B" } })
  expect(words[0]).toBe("0.5 × the leader's lots, the other way round")
  expect(words).toContain("1 symbol under another name")
  expect(words.join()).not.toContain("slippage")
})

it("a copier that the farm has stopped is not one that was ended", () => {
  expect(copierStatus({ state: "stopped", started: true, reason: "5 orders in a row were refused." }).tone).toBe("bad")
  expect(copierStatus({ state: "stopped", started: true, reason: "" }).tone).toBe("idle")
  expect(copierStatus({ state: "active", started: false, reason: "" }).tone).toBe("busy")
})

it("lag and slippage are read at a glance", () => {
  expect([lagText(null), lagText(340), lagText(2140)]).toEqual(["–", "340 ms", "2.1 s"])
  expect([slippageText(null), slippageText(0), slippageText(1.25), slippageText(-3)]).toEqual(["–", "0", "1.3 worse", "3 better"])
})

const trade = (change: Partial<CopiedTrade>): CopiedTrade => ({
  leader_ticket: 1,
  number: 1,
  kind: "open",
  symbol: "EURUSD",
  side: "buy",
  volume: 0.1,
  state: "done",
  message: "",
  order_id: null,
  leader_price: 1.1,
  price: 1.1,
  slippage_points: 0,
  lag_ms: 100,
  created_at: "2026-03-02T10:00:00Z",
  settled_at: "2026-03-02T10:00:01Z",
  ...change,
})
const ignored: CopiedPosition = {
  leader_ticket: 2,
  follower_ticket: null,
  state: "ignored",
  symbol: "XAUUSD",
  leader_volume: 1,
  follower_volume: 0,
  note: "There is no such symbol.",
  changed_at: "2026-03-02T10:00:05Z",
}

describe("the last problem", () => {
  it("is the newest of what was refused and what was left out", () => {
    const refused = trade({ state: "refused", message: "Not enough money", settled_at: "2026-03-02T10:00:09Z" })
    expect(lastProblem([trade({}), refused], [ignored])?.text).toBe("EURUSD: Not enough money")
    expect(lastProblem([trade({})], [ignored])?.text).toBe("XAUUSD not copied: There is no such symbol.")
  })
  it("is none where something was left out as the follower wishes", () => expect(lastProblem([], [{ ...ignored, note: "It was open before copying began." }])).toBeNull())
  it("is none when all went well", () => expect(lastProblem([trade({})], [{ ...ignored, state: "open" }])).toBeNull())
})
