import { describe, expect, it } from "vitest"
import { Attempt, newKey } from "../src/lib/attempt"

const counting = (): Attempt => {
  let made = 0
  return new Attempt(() => `key-${++made}`)
}

describe("the key of a wish", () => {
  it("stays the same while no answer came, so that a repeat cannot trade twice", () => {
    const attempt = counting()
    expect(attempt.keyFor({ side: "buy", volume: 0.1 })).toBe("key-1")
    expect(attempt.keyFor({ side: "buy", volume: 0.1 })).toBe("key-1")
  })
  it("is new after an answer: the same click is then another wish", () => {
    const attempt = counting()
    attempt.keyFor({ side: "buy" })
    attempt.answered()
    expect(attempt.keyFor({ side: "buy" })).toBe("key-2")
  })
  it("is new for another wish", () => {
    const attempt = counting()
    attempt.keyFor({ side: "buy" })
    expect(attempt.keyFor({ side: "sell" })).toBe("key-2")
  })
  it("is 128 random bits", () => {
    expect(newKey()).toMatch(/^[0-9a-f]{32}$/)
    expect(newKey()).not.toBe(newKey())
  })
})
