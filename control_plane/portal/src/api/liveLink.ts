/** Keeps one event stream open: goes on where it broke off, and knows when it is not live. */

export type LinkState = "connecting" | "live" | "lost"

export interface LinkParts {
  open: (url: string) => EventSource
  /** Takes the body of each event that has one of these names. */
  take: Record<string, (body: unknown) => void>
  show: (state: LinkState) => void
  /** What happened meanwhile is not known: everything has to be read anew. */
  readAnew: () => void
  /** The farm has refused the stream, as it does when the session has ended. */
  refused: () => void
}

const URL = "/api/v1/stream"
/** The farm says something every 15 s; after so long the link is dead, whatever the browser believes. */
const SILENCE_MS = 40_000
const FIRST_DELAY_MS = 1000
const LONGEST_DELAY_MS = 15_000

/** Opens the stream and keeps it open; returns how to close it. */
export function keepLink(parts: LinkParts): () => void {
  let source: EventSource | null = null
  let silence: ReturnType<typeof setTimeout> | undefined
  let again: ReturnType<typeof setTimeout> | undefined
  let delay = FIRST_DELAY_MS
  let position = ""

  const listen = (name: string, act: (body: unknown) => void): void => {
    source?.addEventListener(name, (event) => {
      const message = event as MessageEvent<string>
      if (message.lastEventId) position = message.lastEventId
      waitForMore()
      act(JSON.parse(message.data))
    })
  }

  const connect = (): void => {
    source = parts.open(position ? `${URL}?after=${encodeURIComponent(position)}` : URL)
    source.onerror = () => {
      parts.show("lost")
      // The browser opens a broken link again by itself, but gives up after an error answer.
      if (source?.readyState === EventSource.CLOSED) {
        parts.refused()
        reconnect()
      }
    }
    for (const [name, act] of Object.entries(parts.take)) listen(name, act)
    listen("reset", parts.readAnew)
    listen("heartbeat", (body) => {
      delay = FIRST_DELAY_MS
      parts.show((body as { live: boolean }).live ? "live" : "lost")
    })
    waitForMore()
  }

  const disconnect = (): void => {
    clearTimeout(silence)
    clearTimeout(again)
    source?.close()
    source = null
  }

  const reconnect = (): void => {
    disconnect()
    // Apart from each other, for a farm that was away comes back to all its browsers at once.
    again = setTimeout(connect, delay * (0.5 + Math.random()))
    delay = Math.min(delay * 2, LONGEST_DELAY_MS)
  }

  const waitForMore = (): void => {
    clearTimeout(silence)
    silence = setTimeout(() => {
      parts.show("lost")
      reconnect()
    }, SILENCE_MS)
  }

  // A link without a network stays open for minutes before anything notices; the browser knows at once.
  const onOffline = (): void => {
    disconnect()
    parts.show("lost")
  }
  const onOnline = (): void => {
    onOffline()
    connect()
  }
  window.addEventListener("offline", onOffline)
  window.addEventListener("online", onOnline)

  connect()
  return () => {
    window.removeEventListener("offline", onOffline)
    window.removeEventListener("online", onOnline)
    disconnect()
    parts.show("connecting")
  }
}
