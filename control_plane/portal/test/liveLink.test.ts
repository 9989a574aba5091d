import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { keepLink, type LinkState } from "../src/api/liveLink"

class FakeSource {
  static readonly CLOSED = 2
  readyState = 1
  onerror: (() => void) | null = null
  private listeners: Record<string, (event: unknown) => void> = {}
  constructor(readonly url: string) {}
  addEventListener(name: string, listener: (event: unknown) => void): void {
    this.listeners[name] = listener
  }
  close(): void {
    this.readyState = FakeSource.CLOSED
  }
  say(name: string, body: unknown, lastEventId = ""): void {
    this.listeners[name]?.({ data: JSON.stringify(body), lastEventId })
  }
  refuse(): void {
    this.close()
    this.onerror?.()
  }
}

const opened: FakeSource[] = []
const states: LinkState[] = []
const accounts: unknown[] = []
const counted = { readAnew: 0, refused: 0 }
const events: Record<string, () => void> = {}
let close: () => void

const newest = (): FakeSource => opened.at(-1)!
const live = (position = "1"): void => newest().say("heartbeat", { live: true }, position)

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal("EventSource", FakeSource)
  vi.stubGlobal("window", {
    addEventListener: (name: string, act: () => void) => (events[name] = act),
    removeEventListener: (name: string) => delete events[name],
  })
  opened.length = states.length = accounts.length = counted.readAnew = counted.refused = 0
  close = keepLink({
    open: (url) => {
      opened.push(new FakeSource(url))
      return newest() as unknown as EventSource
    },
    take: { account: (body) => accounts.push(body) },
    show: (state) => states.push(state),
    readAnew: () => counted.readAnew++,
    refused: () => counted.refused++,
  })
})
afterEach(() => {
  close()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe("a link", () => {
  it("is live when the farm says so, and hands on what it hears", () => {
    expect(states).toEqual([])
    live()
    newest().say("account", { id: "a" }, "2")
    expect(states).toEqual(["live"])
    expect(accounts).toEqual([{ id: "a" }])
  })
  it("is not live while the farm cannot hear its other parts", () => {
    live()
    newest().say("heartbeat", { live: false }, "2")
    expect(states.at(-1)).toBe("lost")
  })
  it("that breaks is opened again after the last event that came", () => {
    live("7-0")
    newest().say("account", {}, "8-0")
    newest().refuse()
    expect(states.at(-1)).toBe("lost")
    expect(counted.refused).toBe(1)
    vi.advanceTimersByTime(1500)
    expect(opened.map((each) => each.url)).toEqual(["/api/v1/stream", "/api/v1/stream?after=8-0"])
    expect(counted.readAnew).toBe(0)
  })
  it("has everything read anew when the farm does not know what happened meanwhile", () => {
    newest().say("reset", {}, "9")
    expect(counted.readAnew).toBe(1)
  })
  it("that is silent for too long is dead", () => {
    live()
    vi.advanceTimersByTime(39_000)
    newest().say("account", {}, "2")
    vi.advanceTimersByTime(39_000)
    expect(states.at(-1)).toBe("live")
    vi.advanceTimersByTime(1001)
    expect(states.at(-1)).toBe("lost")
    expect(newest().readyState).toBe(FakeSource.CLOSED)
    vi.advanceTimersByTime(1500)
    expect(opened).toHaveLength(2)
  })
  it("asks less and less often while it is refused", () => {
    for (let round = 0; round < 8; round++) {
      newest().refuse()
      vi.advanceTimersByTime(22_500)
    }
    expect(opened).toHaveLength(9)
    newest().refuse()
    vi.advanceTimersByTime(7_400)
    expect(opened).toHaveLength(9)
  })
  it("without a network is lost at once and comes back with it", () => {
    live()
    events["offline"]!()
    expect(states.at(-1)).toBe("lost")
    events["online"]!()
    expect(opened).toHaveLength(2)
  })
  it("that is closed stays closed", () => {
    live()
    close()
    vi.advanceTimersByTime(100_000)
    expect(opened).toHaveLength(1)
    expect(states.at(-1)).toBe("connecting")
  })
})
