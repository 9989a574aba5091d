import { Problem } from "../api/client"

/** Whether the password was right and a code has to come with it. */
export function asksForCode(error: unknown): boolean {
  return error instanceof Problem && error.status === 401 && error.code === "second_factor_required"
}

const NAMES: readonly [RegExp, string][] = [
  [/iPhone|iPad/, "iPhone or iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "Mac"],
  [/Linux/, "Linux"],
]
const BROWSERS: readonly [RegExp, string][] = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\//, "Firefox"],
  [/Chrome\//, "Chrome"],
  [/Safari\//, "Safari"],
]

/** "Chrome on Windows", or the program's own name where nothing better is known. */
export function deviceName(userAgent: string): string {
  const find = (names: readonly [RegExp, string][]): string | undefined => names.find(([pattern]) => pattern.test(userAgent))?.[1]
  const [browser, machine] = [find(BROWSERS), find(NAMES)]
  if (browser) return machine ? `${browser} on ${machine}` : browser
  return userAgent.split(/[\s/]/)[0] || "Unknown program"
}
