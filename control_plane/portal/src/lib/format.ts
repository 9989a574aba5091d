/** Numbers, money and times as a trader reads them. Money arrives as decimal strings and is never turned into a float. */

const MINUS = "\u2212"

/** Amount as a whole number of units of `10 ** -scale`. */
interface Scaled {
  units: bigint
  scale: number
}

function parseMoney(value: string): Scaled | null {
  const match = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(value.trim())
  if (!match) return null
  const fraction = match[3] ?? ""
  const units = BigInt((match[2] ?? "0") + fraction)
  return { units: match[1] === "-" ? -units : units, scale: fraction.length }
}

function printMoney({ units, scale }: Scaled): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0")
  const whole = digits.slice(0, digits.length - scale)
  return (units < 0n ? "-" : "") + whole + (scale > 0 ? "." + digits.slice(-scale) : "")
}

/** Exact sum of decimal strings; what is not a number counts as nothing. */
export function addMoney(...values: string[]): string {
  const parts = values.map(parseMoney).filter((part) => part !== null)
  const scale = Math.max(0, ...parts.map((part) => part.scale))
  const units = parts.reduce((sum, part) => sum + part.units * 10n ** BigInt(scale - part.scale), 0n)
  return printMoney({ units, scale })
}

/** `-12345.6` -> `−12,345.60`; at least two decimals, never fewer than the value has. */
export function formatMoney(value: string | null | undefined): string {
  const parsed = value == null ? null : parseMoney(value)
  if (!parsed) return "–"
  const scale = Math.max(2, parsed.scale)
  const text = printMoney({ units: parsed.units * 10n ** BigInt(scale - parsed.scale), scale })
  const [whole = "0", fraction = ""] = text.replace("-", "").split(".")
  return (parsed.units < 0n ? MINUS : "") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + "." + fraction
}

export type Tone = "up" | "down" | "flat"

export function toneOf(value: string | null | undefined): Tone {
  const parsed = value == null ? null : parseMoney(value)
  if (!parsed || parsed.units === 0n) return "flat"
  return parsed.units > 0n ? "up" : "down"
}

/** Profit with its sign spelled out, so that colour is never the only hint. */
export function formatProfit(value: string | null | undefined): string {
  return (toneOf(value) === "up" ? "+" : "") + formatMoney(value)
}

export function formatPrice(value: number | null | undefined, digits: number): string {
  return value == null || !Number.isFinite(value) ? "–" : value.toFixed(digits)
}

/** Lots: two decimals, more only where the broker's step needs them. */
export function formatVolume(lots: number): string {
  const text = lots.toFixed(8).replace(/0+$/, "")
  const decimals = text.length - text.indexOf(".") - 1
  return lots.toFixed(Math.max(2, decimals))
}

/** How many digits a price needs when its symbol is not known any more. */
export function digitsOf(price: number): number {
  const text = String(Number(price.toFixed(8)))
  const dot = text.indexOf(".")
  return dot < 0 ? 0 : text.length - dot - 1
}

const two = (value: number): string => String(value).padStart(2, "0")

/** Broker wall clock (seconds since 1970 as MetaTrader gives them): shown as it is, never shifted to a time zone. */
export function formatBrokerTime(seconds: number): string {
  if (!seconds) return "–"
  const at = new Date(seconds * 1000)
  const date = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`
  return `${date} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`
}

/** RFC 3339 instant in the reader's own time zone. */
export function formatLocalTime(instant: string): string {
  const at = new Date(instant)
  return Number.isNaN(at.getTime())
    ? "–"
    : at.toLocaleString("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" })
}

/** How long ago, in the largest unit that fits: `4 s`, `12 min`, `3 h`, `2 d`. */
export function formatAge(since: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - new Date(since).getTime()) / 1000))
  if (!Number.isFinite(seconds)) return "–"
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}
