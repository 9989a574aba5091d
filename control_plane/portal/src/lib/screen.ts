/** A look at a terminal's screen: a ticket, a socket to the farm, and noVNC on it, which is loaded when first needed. */

import type RFB from "@novnc/novnc"
import { onBeforeUnmount, ref, type Ref, watch } from "vue"
import { asProblem } from "../api/client"

export type ScreenState = "opening" | "shown" | "ended"

/** A screen that nobody can see is not worth its cost to the terminal's container. */
export const HIDDEN_MILLISECONDS = 60_000
const SAYS_WHY: ReadonlySet<number> = new Set([4403, 4410])
const RESTARTS: ReadonlySet<number> = new Set([1001, 1012])

/** What to tell about a socket that has closed. */
export function closingWords(code: number, reason: string): string {
  if (SAYS_WHY.has(code) && reason) return reason
  if (RESTARTS.has(code)) return "The farm is restarting; look again in a moment."
  return "The link to the farm was lost."
}

export function screenAddress(page: Pick<Location, "protocol" | "host">): string {
  return `${page.protocol === "https:" ? "wss" : "ws"}://${page.host}/api/v1/screen`
}

export interface ScreenView {
  state: Ref<ScreenState>
  words: Ref<string>
  /** True: all of it, however small. False: in its own size, moved with the finger or mouse. */
  fitted: Ref<boolean>
  look: () => Promise<void>
}

/** Shows the screen inside of `frame` from the first `look` until the component goes, or the tab is hidden for long. */
export function useScreen(frame: Ref<HTMLElement | null>, ask: () => Promise<string>): ScreenView {
  const state = ref<ScreenState>("opening")
  const words = ref("")
  const fitted = ref(true)
  let socket: WebSocket | null = null
  let shown: RFB | null = null
  let hiding: ReturnType<typeof setTimeout> | undefined
  let round = 0

  function leave(): void {
    round += 1
    shown?.disconnect()
    socket?.close()
    socket = shown = null
  }

  function end(text: string): void {
    leave()
    words.value = text
    state.value = "ended"
  }

  function fit(): void {
    if (!shown) return
    shown.scaleViewport = fitted.value
    shown.clipViewport = shown.dragViewport = !fitted.value
  }

  async function look(): Promise<void> {
    leave()
    const mine = round
    state.value = "opening"
    words.value = ""
    try {
      const [{ default: Screen }, ticket] = await Promise.all([import("@novnc/novnc"), ask()])
      if (mine !== round || !frame.value) return
      const target = frame.value
      const opened = new WebSocket(screenAddress(location))
      socket = opened
      opened.onopen = () => opened.send(ticket)
      opened.onmessage = () => {
        // The first message only says that the screen follows; noVNC takes the socket over from here.
        shown = new Screen(target, opened)
        shown.viewOnly = true
        shown.background = "#000"
        fit()
        shown.addEventListener("connect", () => (state.value = "shown"))
      }
      opened.addEventListener("close", (event) => {
        if (mine === round) end(closingWords(event.code, event.reason))
      })
    } catch (error) {
      if (mine === round) end(asProblem(error).detail)
    }
  }

  function onVisibility(): void {
    clearTimeout(hiding)
    if (document.hidden && state.value !== "ended") {
      hiding = setTimeout(() => end("The screen was closed while you were away."), HIDDEN_MILLISECONDS)
    }
  }

  watch(fitted, fit)
  document.addEventListener("visibilitychange", onVisibility)
  onBeforeUnmount(() => {
    document.removeEventListener("visibilitychange", onVisibility)
    clearTimeout(hiding)
    leave()
  })
  return { state, words, fitted, look }
}
