import { describe, expect, it } from "vitest"
import { formatGiB, parseLabels, verdictText, writeLabels } from "../src/lib/placement"

describe("labels", () => {
  it("are read as they are written", () => {
    const labels = { disk: "ssd", cpu: "new" }
    expect(writeLabels(labels)).toBe("cpu=new, disk=ssd")
    expect(parseLabels(writeLabels(labels))).toEqual(labels)
    expect(parseLabels("  ")).toEqual({})
  })

  it("are refused when they are none", () => {
    for (const text of ["ssd", "disk=", "=ssd", "a=b=c"]) expect(parseLabels(text)).toBeNull()
  })
})

describe("words", () => {
  it("say why a node was not taken", () => {
    expect(verdictText("dedicated")).toBe("kept for another tenant")
    expect(verdictText("something new")).toBe("something new")
    expect(formatGiB(3.5 * 2 ** 30)).toBe("3.5 GiB")
    expect(formatGiB(null)).toBe("–")
  })
})
