import { describe, expect, it } from "vitest"
import { parameterProblem } from "../src/lib/botForm"
import { parseNumber, stepVolume, stopProblems, volumeProblem } from "../src/lib/orderForm"
import { eurusd } from "./records"

describe("volume", () => {
  it.each(["0.01", "0.07", "0.29", "1.1", "50", "0,10"])("%s is on the step", (text) => {
    expect(volumeProblem(text, eurusd)).toBeNull()
  })
  it.each([
    ["0.015", /steps of 0\.01/],
    ["0.005", /smallest volume is 0\.01/],
    ["50.01", /largest volume is 50\.00/],
    ["", /Enter a volume/],
    ["0", /Enter a volume/],
    ["-1", /Enter a volume/],
    ["1e3", /Enter a volume/],
    ["one", /Enter a volume/],
  ])("%s is refused in words", (text, words) => {
    expect(volumeProblem(text, eurusd)).toMatch(words)
  })
  it("on every multiple of a step of 0.01 is accepted", () => {
    for (let step = 1; step <= 5000; step += 1) expect(volumeProblem(String(step / 100), eurusd)).toBeNull()
  })
  it("steps up and down on the broker's grid and stays inside the limits", () => {
    expect(stepVolume("0.10", 1, eurusd)).toBe("0.11")
    expect(stepVolume("0.10", -1, eurusd)).toBe("0.09")
    expect(stepVolume("0.015", 1, eurusd)).toBe("0.02")
    expect(stepVolume("0.015", -1, eurusd)).toBe("0.01")
    expect(stepVolume("0.01", -1, eurusd)).toBe("0.01")
    expect(stepVolume("50", 1, eurusd)).toBe("50.00")
    expect(stepVolume("nonsense", 1, eurusd)).toBe("0.01")
  })
  it("that was stepped to is always accepted", () => {
    const rules = { volume_min: 0.1, volume_max: 7, volume_step: 0.1 }
    let text = "0.1"
    for (let press = 0; press < 80; press += 1) {
      text = stepVolume(text, 1, rules)
      expect(volumeProblem(text, rules)).toBeNull()
    }
    expect(text).toBe("7.00")
  })
})

describe("stops", () => {
  const none = { stopLoss: null, takeProfit: null }
  it("may be empty", () => expect(stopProblems("buy", "", " ", eurusd)).toEqual(none))
  it("of a buy lie below and above the bid, of a sell above and below the ask", () => {
    expect(stopProblems("buy", "1.09", "1.11", eurusd)).toEqual(none)
    expect(stopProblems("sell", "1.11", "1.09", eurusd)).toEqual(none)
    expect(stopProblems("buy", "1.11", "1.09", eurusd)).toEqual({
      stopLoss: expect.stringMatching(/1\.09990 or lower/) as string,
      takeProfit: expect.stringMatching(/1\.10010 or higher/) as string,
    })
    expect(stopProblems("sell", "1.09", "", eurusd).stopLoss).toMatch(/1\.10022 or higher/)
  })
  it("may lie exactly on the broker's stops level, not nearer", () => {
    expect(stopProblems("buy", "1.0999", "", eurusd)).toEqual(none)
    expect(stopProblems("buy", "1.09991", "", eurusd).stopLoss).not.toBeNull()
  })
  it("must be prices", () => {
    expect(stopProblems("buy", "abc", "0", eurusd)).toEqual({
      stopLoss: "Enter a price, or leave it empty.",
      takeProfit: "Enter a price, or leave it empty.",
    })
  })
})

it("numbers are read with a comma or a point, and nothing else", () => {
  expect(["1.5", "1,5", ".5", "2."].map(parseNumber)).toEqual([1.5, 1.5, 0.5, 2])
  expect(["", ".", "1.2.3", "-1", "1e5", "Infinity", "0x10"].map(parseNumber)).toEqual(Array(7).fill(null))
})

describe("parameter of a strategy", () => {
  const fast = { name: "fast", title: "Fast", help: "", type: "int" as const, default: 9, minimum: 2, maximum: 200 }
  it("keeps to its type and limits", () => {
    expect(parameterProblem("9", fast)).toBeNull()
    expect(parameterProblem("1", fast)).toBe("At least 2.")
    expect(parameterProblem("201", fast)).toBe("At most 200.")
    expect(parameterProblem("9.5", fast)).toBe("Enter a whole number.")
    expect(parameterProblem("", fast)).toBe("Enter a number.")
    expect(parameterProblem("9,5", { ...fast, type: "float" })).toBeNull()
  })
})
