import { describe, expect, it } from "vitest"
import { Problem } from "../src/api/client"
import { textAndLinks } from "../src/lib/mailText"
import { useProofDialog, withProof } from "../src/lib/proof"
import { asksForCode, deviceName } from "../src/lib/secondFactor"

const refused = (code: string, status = 403) => new Problem(status, code, "no", false)

describe("a code is asked for", () => {
  it("once the password was right", () => {
    expect(asksForCode(refused("second_factor_required", 401))).toBe(true)
    expect(asksForCode(refused("bad_sign_in", 401))).toBe(false)
    expect(asksForCode(refused("second_factor_required", 403))).toBe(false)
  })
})

describe("work that needs a fresh proof", () => {
  const twice = (first: Problem) => {
    let calls = 0
    return async () => {
      calls += 1
      if (calls === 1) throw first
      return calls
    }
  }

  it("is done once the proof is given", async () => {
    const { asked, settle } = useProofDialog()
    const result = withProof(twice(refused("step_up_required")))
    await Promise.resolve()
    await Promise.resolve()
    expect(asked.value).toBe(true)
    settle(true)
    expect(await result).toBe(2)
    expect(asked.value).toBe(false)
  })

  it("is not done when the reader would rather not", async () => {
    const { settle } = useProofDialog()
    const result = withProof(twice(refused("step_up_required")))
    await Promise.resolve()
    await Promise.resolve()
    settle(false)
    await expect(result).rejects.toMatchObject({ code: "step_up_required" })
  })

  it("fails at once for any other reason", async () => {
    await expect(withProof(twice(refused("role_required")))).rejects.toMatchObject({ code: "role_required" })
    expect(useProofDialog().asked.value).toBe(false)
  })
})

describe("a session", () => {
  it("is named after browser and machine", () => {
    const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
    expect(deviceName(chrome)).toBe("Chrome on Linux")
    expect(deviceName("python-httpx/0.28")).toBe("python-httpx")
    expect(deviceName("")).toBe("Unknown program")
  })
})

describe("a mail", () => {
  it("has nothing but web addresses as links", () => {
    expect(textAndLinks("Open\n\nhttp://127.0.0.1:1/verify-email#a_b-c\n\njavascript:x")).toEqual([
      { text: "Open\n\n", link: false },
      { text: "http://127.0.0.1:1/verify-email#a_b-c", link: true },
      { text: "\n\njavascript:x", link: false },
    ])
  })
})
