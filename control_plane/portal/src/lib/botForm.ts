import type { Bot, BotSettings, CustomStrategy, Strategy, StrategyParameter, StrategyVersion } from "../api/types"
import { formatVolume } from "./format"

/** One that a bot can be set to: built in, or a version of an uploaded one. */
export interface Choice extends Strategy {
  /** Id of the uploaded strategy that it is a version of. */
  family?: string
  /** There is a newer version of it. */
  superseded?: boolean
}

/** A sentence when a parameter of a strategy cannot be right, else null. */
export function parameterProblem(text: string, parameter: StrategyParameter): string | null {
  const value = Number(text.trim().replace(",", "."))
  if (text.trim() === "" || !Number.isFinite(value)) return "Enter a number."
  if (parameter.type === "int" && !Number.isInteger(value)) return "Enter a whole number."
  if (parameter.minimum != null && value < parameter.minimum) return `At least ${parameter.minimum}.`
  if (parameter.maximum != null && value > parameter.maximum) return `At most ${parameter.maximum}.`
  return null
}

/** What a form offers: the newest of each and, for a bot that is there already, every version of its own strategy. */
export function offeredChoices<Each extends Choice>(choices: readonly Each[], present?: string): Each[] {
  const family = choices.find((each) => each.name === present)?.family
  return choices.filter((each) => !each.superseded || (family !== undefined && each.family === family))
}

/** The fields for a strategy: what is known of its parameters stays, the others have their defaults. */
export function parameterTexts(strategy: Pick<Strategy, "parameters"> | undefined, known: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries((strategy?.parameters ?? []).map((item) => [item.name, String(known[item.name] ?? item.default)]))
}

export function parameterValues(strategy: Pick<Strategy, "parameters">, texts: Record<string, string>): Record<string, number> {
  return Object.fromEntries(strategy.parameters.map((item) => [item.name, Number((texts[item.name] ?? "").trim().replace(",", "."))]))
}

export const settingsOf = (bot: Bot): BotSettings => ({
  name: bot.name,
  strategy: bot.strategy,
  symbol: bot.symbol,
  timeframe: bot.timeframe,
  volume: bot.volume,
  parameters: bot.parameters,
  paper: bot.paper,
})

export interface SettingChange {
  what: string
  before: string
  after: string
}

/** What differs between two states of a bot's settings, in the words of the form. */
export function settingChanges(before: BotSettings, after: BotSettings, choices: readonly Choice[]): SettingChange[] {
  const title = (name: string): string => choices.find((each) => each.name === name)?.title ?? "A strategy that was deleted"
  const mode = (paper: boolean): string => (paper ? "on paper" : "live")
  const plain: [string, string, string][] = [
    ["Name", before.name, after.name],
    ["Strategy", title(before.strategy), title(after.strategy)],
    ["Symbol", before.symbol, after.symbol],
    ["Timeframe", before.timeframe, after.timeframe],
    ["Lots", formatVolume(before.volume), formatVolume(after.volume)],
    ["Orders", mode(before.paper), mode(after.paper)],
  ]
  const names = [...new Set([...Object.keys(before.parameters), ...Object.keys(after.parameters)])]
  const label = (name: string): string =>
    [after.strategy, before.strategy]
      .map((each) => choices.find((choice) => choice.name === each)?.parameters.find((item) => item.name === name)?.title)
      .find((each) => each !== undefined) ?? name
  const value = (settings: BotSettings, name: string): string => (name in settings.parameters ? String(settings.parameters[name]) : "–")
  const parameters = names.map((name): [string, string, string] => [label(name), value(before, name), value(after, name)])
  return [...plain, ...parameters].filter(([, old, now]) => old !== now).map(([what, old, now]) => ({ what, before: old, after: now }))
}

export interface VersionChoice {
  bot: Bot
  /** Number of the version that it is set to now. */
  present: number
}

/** The bots that run another version of a strategy than this one. */
export function versionChoices(
  strategy: Pick<CustomStrategy, "versions">,
  wanted: Pick<StrategyVersion, "id">,
  bots: readonly Bot[],
): VersionChoice[] {
  return bots.flatMap((bot) => {
    const present = strategy.versions.find((each) => each.id === bot.strategy)
    return present && present.id !== wanted.id ? [{ bot, present: present.number }] : []
  })
}
