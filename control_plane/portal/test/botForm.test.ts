import { describe, expect, it } from "vitest"
import type { StrategyVersion } from "../src/api/types"
import { offeredChoices, parameterTexts, parameterValues, settingChanges, settingsOf, versionChoices, type Choice } from "../src/lib/botForm"
import { bot } from "./records"

const fast = { name: "fast", title: "Fast average", help: "", type: "int" as const, default: 5, minimum: 1, maximum: 500 }
const slow = { ...fast, name: "slow", title: "Slow average", default: 20 }
const choice = (name: string, change: Partial<Choice> = {}): Choice => ({ name, title: name.toUpperCase(), description: "", parameters: [fast, slow], ...change })
const builtIn = choice("ma_cross")
const newest = choice("ver_2", { family: "cst_1" })
const older = choice("ver_1", { family: "cst_1", superseded: true })
const all = [builtIn, newest, older]

describe("strategies on offer", () => {
  it("are the newest of each for a new bot", () => expect(offeredChoices(all)).toEqual([builtIn, newest]))
  it("are all versions of its own for a bot that is there", () => {
    expect(offeredChoices(all, "ver_2")).toEqual(all)
    expect(offeredChoices(all, "ver_1")).toEqual(all)
    expect(offeredChoices(all, "ma_cross")).toEqual([builtIn, newest])
  })
})

it("parameters that another version knows as well keep their values", () => {
  expect(parameterTexts(newest, { fast: 7, gone: 1 })).toEqual({ fast: "7", slow: "20" })
  expect(parameterTexts(undefined, { fast: 7 })).toEqual({})
  expect(parameterValues(newest, { fast: "7", slow: " 1,5 " })).toEqual({ fast: 7, slow: 1.5 })
})

describe("what a change did", () => {
  const before = settingsOf(bot({ strategy: "ver_1", parameters: { fast: 5, old: 1 }, paper: true }))
  it("is said field by field, in the words of the form", () => {
    const after = { ...before, strategy: "ver_2", parameters: { fast: 9 }, paper: false, volume: 0.25 }
    expect(settingChanges(before, after, all)).toEqual([
      { what: "Strategy", before: "VER_1", after: "VER_2" },
      { what: "Lots", before: "0.10", after: "0.25" },
      { what: "Orders", before: "on paper", after: "live" },
      { what: "Fast average", before: "5", after: "9" },
      { what: "old", before: "1", after: "–" },
    ])
  })
  it("is nothing when nothing differs", () => expect(settingChanges(before, before, all)).toEqual([]))
})

it("only bots on another version can be set to one", () => {
  const version = (id: string, number: number) => ({ id, number }) as StrategyVersion
  const strategy = { versions: [version("ver_2", 2), version("ver_1", 1)] }
  const bots = [bot({ id: "a", strategy: "ver_1" }), bot({ id: "b", strategy: "ver_2" }), bot({ id: "c" })]
  expect(versionChoices(strategy, { id: "ver_2" }, bots).map((each) => [each.bot.id, each.present])).toEqual([["a", 1]])
})
