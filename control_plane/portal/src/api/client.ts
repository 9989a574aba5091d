import createClient from "openapi-fetch"
import type { paths } from "./schema"

/** What the farm said instead of yes (RFC 9457), or that it could not be reached (status 0). `detail` is safe to show. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly retryable: boolean,
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(detail)
    this.name = "Problem"
  }
}

export const UNREACHABLE = "unreachable"

// State-changing requests must say JSON even without a body: the control plane takes that as proof against forged forms.
export const api = createClient<paths>({ headers: { "Content-Type": "application/json" } })

/** Under this id the logs of the farm have what one request has set off, down to the terminal. */
export function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12))
  return `web_${Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("")}`
}

api.use({
  onRequest({ request }) {
    request.headers.set("X-Request-Id", newRequestId())
    return request
  },
})

interface Answer<Data> {
  data?: Data
  error?: unknown
  response: Response
}

/** The body of a good answer. Throws `Problem` for every other outcome. */
export async function unwrap<Data>(request: Promise<Answer<Data>>): Promise<Data> {
  let answer: Answer<Data>
  try {
    answer = await request
  } catch {
    throw new Problem(0, UNREACHABLE, "The farm does not answer. Check your connection and try again.", true)
  }
  if (!answer.response.ok) throw problemFrom(answer.response.status, answer.error, answer.response.headers.get("X-Request-Id"))
  return answer.data as Data
}

/** A record with the tag of its state, for If-Match when it is changed. */
export interface Tagged<Data> {
  data: Data
  tag: string
}

/** As `unwrap`, with the tag. */
export async function unwrapTagged<Data>(request: Promise<Answer<Data>>): Promise<Tagged<Data>> {
  let tag = "*"
  const noted = request.then((answer) => {
    tag = answer.response.headers.get("ETag") ?? "*"
    return answer
  })
  return { data: await unwrap(noted), tag }
}

/** Reads problem+json; a proxy's page or an empty body becomes a plain sentence. */
export function problemFrom(status: number, body: unknown, requestId: string | null = null): Problem {
  const given = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {}
  const text = (key: string): string => (typeof given[key] === "string" ? (given[key] as string) : "")
  const fields: Record<string, string> = {}
  for (const error of Array.isArray(given["errors"]) ? (given["errors"] as unknown[]) : []) {
    const { field, message } = (error ?? {}) as { field?: unknown; message?: unknown }
    if (typeof field === "string" && typeof message === "string") fields[field] = message
  }
  const fallback = status >= 500 ? "Something went wrong in the farm. Please try again." : "The farm refused this."
  const words = text("detail") || text("title") || fallback
  // Whoever is asked for help can follow this id through the logs.
  const detail = status >= 500 && requestId ? `${words} Reference: ${requestId}` : words
  return new Problem(status, text("code") || `http_${status}`, detail, given["retryable"] === true, fields)
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "unexpected", "Something unexpected happened. Please try again.", false)
}
