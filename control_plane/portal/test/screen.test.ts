import { describe, expect, it } from "vitest"
import { closingWords, screenAddress } from "../src/lib/screen"

describe("what is told about a screen that has closed", () => {
  it.each([
    [4403, "The screen was not shown: busy.", "The screen was not shown: busy."],
    [4410, "The view has ended.", "The view has ended."],
    [1012, "", "The farm is restarting; look again in a moment."],
    [1006, "", "The link to the farm was lost."],
    [4403, "", "The link to the farm was lost."],
  ])("%i %s", (code, reason, words) => {
    expect(closingWords(code, reason)).toBe(words)
  })
})

it("the screen comes from where the page comes from, encrypted if that is", () => {
  expect(screenAddress({ protocol: "http:", host: "127.0.0.1:8080" })).toBe("ws://127.0.0.1:8080/api/v1/screen")
  expect(screenAddress({ protocol: "https:", host: "farm.example" })).toBe("wss://farm.example/api/v1/screen")
})
