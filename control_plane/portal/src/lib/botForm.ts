import type { StrategyParameter } from "../api/types"

/** A sentence when a parameter of a strategy cannot be right, else null. */
export function parameterProblem(text: string, parameter: StrategyParameter): string | null {
  const value = Number(text.trim().replace(",", "."))
  if (text.trim() === "" || !Number.isFinite(value)) return "Enter a number."
  if (parameter.type === "int" && !Number.isInteger(value)) return "Enter a whole number."
  if (parameter.minimum != null && value < parameter.minimum) return `At least ${parameter.minimum}.`
  if (parameter.maximum != null && value > parameter.maximum) return `At most ${parameter.maximum}.`
  return null
}
