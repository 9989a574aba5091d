/** The pages that the header leads to. */

import type { IconName } from "../components/AppIcon.vue"
import { runsTheFleet } from "./fleet"

export interface Place {
  /** Name of its route. */
  name: string
  words: string
  icon: IconName
  /** Routes that lie below it. */
  below: readonly string[]
}

const PLACES: readonly Place[] = [
  { name: "accounts", words: "Accounts", icon: "chart", below: ["account", "statistics", "connect"] },
  { name: "bots", words: "Bots", icon: "bot", below: [] },
  { name: "copying", words: "Copying", icon: "copy", below: [] },
  { name: "backtests", words: "Backtests", icon: "restart", below: [] },
  { name: "kill-switches", words: "Kill switches", icon: "stop", below: [] },
]
const FLEET: Place = { name: "fleet", words: "Fleet", icon: "monitor", below: ["node"] }

export function placesOf(user: { role: string } | null | undefined): Place[] {
  return runsTheFleet(user) ? [...PLACES, FLEET] : [...PLACES]
}

export const isAt = (place: Place, route: unknown): boolean => route === place.name || place.below.some((name) => name === route)
