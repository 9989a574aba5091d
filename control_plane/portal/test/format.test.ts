import { describe, expect, it } from "vitest"
import * as format from "../src/lib/format"

describe("money", () => {
  it("is grouped, keeps every decimal it has, and shows a true minus sign", () => {
    expect(format.formatMoney("1234567.8")).toBe("1,234,567.80")
    expect(format.formatMoney("-1234.5")).toBe("\u22121,234.50")
    expect(format.formatMoney("0.12345")).toBe("0.12345")
    expect(format.formatMoney("999")).toBe("999.00")
  })
  it("is a dash when there is none", () => {
    expect(format.formatMoney(null)).toBe("–")
    expect(format.formatMoney("n/a")).toBe("–")
  })
  it("adds up exactly where floating point does not", () => {
    expect(format.addMoney("0.10", "0.20")).toBe("0.30")
    expect(format.addMoney("-5.00", "1.255")).toBe("-3.745")
    expect(format.addMoney("90071992547409.93", "0.01")).toBe("90071992547409.94")
    expect(format.addMoney("-0.05", "0.01")).toBe("-0.04")
  })
  it("as profit carries its sign, so that colour is not the only hint", () => {
    expect(format.formatProfit("12.5")).toBe("+12.50")
    expect(format.formatProfit("-12.5")).toBe("\u221212.50")
    expect(format.formatProfit("0.00")).toBe("0.00")
    expect([format.toneOf("-0.00"), format.toneOf("0.01"), format.toneOf("-0.01")]).toEqual(["flat", "up", "down"])
  })
})

describe("volume", () => {
  it("has two decimals, more only when needed", () => {
    expect(format.formatVolume(0.1)).toBe("0.10")
    expect(format.formatVolume(0.1 + 0.2)).toBe("0.30")
    expect(format.formatVolume(0.001)).toBe("0.001")
    expect(format.formatVolume(100)).toBe("100.00")
  })
})

describe("price", () => {
  it("has the symbol's digits", () => expect(format.formatPrice(1.1, 5)).toBe("1.10000"))
  it("of an unknown symbol has the digits that it needs", () => {
    expect([1.08412, 151.3, 2000].map(format.digitsOf)).toEqual([5, 1, 0])
  })
})

describe("time", () => {
  it("of the broker is shown as the broker's clock says", () => {
    expect(format.formatBrokerTime(1_772_445_599)).toBe("2026-03-02 09:59:59")
    expect(format.formatBrokerTime(0)).toBe("–")
  })
  it("ago is told in the largest unit that fits, never negative", () => {
    const now = Date.parse("2026-03-02T10:00:00Z")
    const ago = (seconds: number): string => format.formatAge(new Date(now - seconds * 1000).toISOString(), now)
    expect([4, 59, 60, 7199, 7200, 172_800, -5].map(ago)).toEqual(["4 s", "59 s", "1 min", "1 h", "2 h", "2 d", "0 s"])
  })
})
