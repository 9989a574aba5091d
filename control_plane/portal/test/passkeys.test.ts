import { describe, expect, it } from "vitest"
import { isAt, toBytes, toText } from "../src/lib/passkeys"
import { looksAfterPeople, rolesToInvite } from "../src/lib/people"

describe("binary parts travel as base64url", () => {
  it("both ways, without padding", () => {
    for (const bytes of [[], [0], [255, 254], [251, 255, 191], Array.from({ length: 64 }, (_, index) => (index * 37) % 256)]) {
      const content = Uint8Array.from(bytes)
      const text = toText(content.buffer)
      expect(text).toMatch(/^[A-Za-z0-9_-]*$/)
      expect(Array.from(toBytes(text))).toEqual(bytes)
    }
  })
})

describe("passkeys work at their domain and below it", () => {
  it.each([
    ["farm.example", "farm.example", true],
    ["portal.farm.example", "farm.example", true],
    ["evilfarm.example", "farm.example", false],
    ["farm.example.evil.test", "farm.example", false],
    ["127.0.0.1", "localhost", false],
  ])("%s for %s: %s", (host, domain, works) => {
    expect(isAt(host, domain)).toBe(works)
  })
})

describe("people are invited", () => {
  it("into the roles that one may give", () => {
    expect(rolesToInvite("trader")).toEqual([])
    expect(rolesToInvite("broker_admin")).toEqual(["trader", "support"])
    expect(rolesToInvite("owner")).toContain("owner")
  })
  it("and looked after by support and those above", () => {
    expect(["trader", "ops", "support", "broker_admin", "owner"].filter(looksAfterPeople)).toEqual(["support", "broker_admin", "owner"])
  })
})
