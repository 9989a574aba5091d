import { describe, expect, it } from "vitest"
import type { PlanRights } from "../src/api/types"
import { ownRights, planWords } from "../src/lib/plans"

const FREE: PlanRights = {
  plan: "free",
  symbols_per_account: 1,
  auto_trading: false,
  all_indicators: false,
  learning_strategies: false,
  custom_strategies: false,
  programs: false,
}
const ALL: PlanRights = {
  plan: "enterprise",
  symbols_per_account: null,
  auto_trading: true,
  all_indicators: true,
  learning_strategies: true,
  custom_strategies: true,
  programs: true,
}

describe("a plan in words", () => {
  it("names what is limited", () => {
    const words = planWords(FREE, ["moving_average_cross"])
    expect(words[0]).toBe("1 symbol on an account at a time.")
    expect(words[2]).toContain("moving average cross")
    expect(words.filter((each) => each.startsWith("No "))).toHaveLength(3)
  })

  it("has one symbol and three symbols", () => {
    expect(planWords({ ...FREE, symbols_per_account: 3 }, [])[0]).toContain("3 symbols")
  })

  it("denies nothing where all is allowed", () => {
    expect(planWords(ALL, []).some((each) => each.startsWith("No "))).toBe(false)
  })

  it("is one's own, or none", () => {
    const plans = { plans: [FREE, ALL], basic_strategies: [] }
    expect(ownRights({ ...plans, yours: "enterprise" })).toBe(ALL)
    expect(ownRights({ ...plans, yours: null })).toBeUndefined()
  })
})
