import { describe, expect, it } from "vitest"
import { startingSymbol } from "../src/lib/symbolOptions"
import { deal, eurusd } from "./records"

describe("the symbol that the chart starts with", () => {
  const symbols = [eurusd, { ...eurusd, name: "GBPUSD" }]

  it("is the one traded last", () => {
    expect(startingSymbol(symbols, [deal({ symbol: "GBPUSD" }), deal({ symbol: "EURUSD" })])).toBe("GBPUSD")
  })

  it("passes over deposits and symbols that the broker has no more", () => {
    expect(startingSymbol(symbols, [deal({ symbol: "" }), deal({ symbol: "OLD" }), deal({ symbol: "GBPUSD" })])).toBe("GBPUSD")
  })

  it("is the first of the list before any trade", () => {
    expect(startingSymbol(symbols, [])).toBe("EURUSD")
    expect(startingSymbol([], [])).toBe("")
  })
})
