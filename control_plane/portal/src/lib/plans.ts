/** Plans in words. */

import type { Plan, PlanList, PlanRights } from "../api/types"

export const PLAN_NAMES: Readonly<Record<Plan, string>> = { free: "Free", basic: "Basic", pro: "Pro", enterprise: "Enterprise" }

/** What a plan allows and what it does not, a sentence each. */
export function planWords(rights: PlanRights, basicStrategies: readonly string[]): string[] {
  const symbols = rights.symbols_per_account
  const basic = basicStrategies.map((name) => name.replaceAll("_", " ")).join(", ")
  return [
    symbols === null ? "Any number of symbols." : `${symbols} ${symbols === 1 ? "symbol" : "symbols"} on an account at a time.`,
    rights.auto_trading ? "Bots, copying and programs may trade." : "Manual trading; bots on paper only.",
    rights.all_indicators ? "Strategies with all indicators." : `Strategies with basic indicators: ${basic}.`,
    rights.learning_strategies ? "Strategies that learn." : "No strategy that learns.",
    rights.custom_strategies ? "Strategies of your own." : "No strategies of your own.",
    rights.programs ? "Keys for programs." : "No keys for programs.",
  ]
}

export function ownRights(list: PlanList): PlanRights | undefined {
  return list.plans.find((each) => each.plan === list.yours)
}
