/** Uptime in words. */

import type { Uptime, UptimeShare } from "../api/types"
import type { StatusTone } from "./phase"

const WINDOWS: Record<string, string> = { "1h": "Last hour", "1d": "Last day", "7d": "Last 7 days" }

export function windowLabel(window: string): string {
  return WINDOWS[window] ?? window
}

/** `99.95 %`; never rounded up to 100, so that a short outage stays visible. */
export function sharePercent(share: UptimeShare): string {
  if (share.share === null) return "–"
  const percent = Math.floor(share.share * 10_000) / 100
  return `${percent === 100 ? "100" : percent.toFixed(2)} %`
}

export function shareTone(share: UptimeShare): StatusTone {
  if (share.share === null) return "idle"
  return share.share >= 0.995 ? "ok" : share.share >= 0.95 ? "warn" : "bad"
}

/** `2 h`, as `formatAge` would say it. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}

/** What a share leaves out: time that nobody watched and time in which nothing was wanted. */
export function shareRemarks(share: UptimeShare): string {
  const parts: string[] = []
  if (share.down_seconds) parts.push(`${duration(share.down_seconds)} without answers`)
  if (share.unknown_seconds) parts.push(`${duration(share.unknown_seconds)} not known`)
  if (share.off_seconds) parts.push(`${duration(share.off_seconds)} switched off`)
  return parts.join(", ")
}

/** By which clock the market hours are. */
export function marketHoursNote(uptime: Pick<Uptime, "time_zone" | "time_zone_known">): string {
  const clock = uptime.time_zone_known ? uptime.time_zone : `${uptime.time_zone}, assumed`
  return `Market hours are Monday to Friday by the server's clock (${clock}).`
}
