/** What is told where and when, between the farm's records and the forms. */

import type { AlertEvent, AlertSettings, Delivery, Threshold, ThresholdKind, Webhook } from "../api/types"
import { clock, minutes } from "./clock"
import { parseNumber } from "./orderForm"
import type { Status } from "./phase"

export const CHANNELS = [
  { value: "portal", label: "Portal" },
  { value: "email", label: "E-mail" },
  { value: "webhook", label: "Webhook" },
  { value: "telegram", label: "Telegram" },
] as const
export const MODES = [
  { value: "on", label: "On" },
  { value: "silent", label: "Silent" },
  { value: "off", label: "Off" },
] as const
export type Channel = (typeof CHANNELS)[number]["value"]
export type Mode = (typeof MODES)[number]["value"]

/** In the order in which the form shows them: what may cost money first. */
export const EVENTS: Record<AlertEvent, { title: string; help: string }> = {
  margin_level: { title: "Low margin level", help: "An account comes near a margin call." },
  drawdown: { title: "Drawdown", help: "Equity falls too far below its highest." },
  order_unknown: { title: "Unsettled order", help: "Nobody knows what became of an order." },
  terminal_stale: { title: "Silent terminal", help: "A terminal that should run does not answer." },
  login_refused: { title: "Login refused", help: "The broker does not take the password." },
  bot_stopped: { title: "Bot stopped", help: "A bot that should run does not." },
  copying_stopped: { title: "Copying stopped", help: "The farm has ended a copying by itself." },
  threshold: { title: "Your own limits", help: "One that you have set for an account was passed." },
  guard_hit: { title: "Order refused by limits", help: "The limits of an account refused an order." },
  account_moved: { title: "Account moved", help: "A terminal runs on another node now." },
  daily_report: { title: "Daily report", help: "The result of the day, of each account." },
  new_sign_in: { title: "New sign-in", help: "Somebody signed in as you with a new browser." },
  webhook_disabled: { title: "Webhook disabled", help: "A webhook was given up after many failures." },
}

/** The settings as they are sent back: without what only the farm says. */
export type SettableAlerts = Omit<AlertSettings, "urgent" | "telegram_available">

export function settable(settings: AlertSettings): SettableAlerts {
  const { urgent: _urgent, telegram_available: _available, ...rest } = settings
  return rest
}

export function withMode(settings: SettableAlerts, event: string, channel: Channel, mode: Mode): SettableAlerts {
  return { ...settings, modes: { ...settings.modes, [event]: { ...settings.modes[event], [channel]: mode } } }
}

/** When and from which figures on, as it stands in the fields. */
export interface TimesForm {
  timeZone: string
  quiet: boolean
  quietFrom: string
  quietUntil: string
  digest: AlertSettings["digest"]
  reportAt: string
  staleMinutes: string
  drawdown: string
  marginLevel: string
}

const NIGHT = { from: 22 * 60, until: 7 * 60 }

export function timesForm(settings: AlertSettings): TimesForm {
  return {
    timeZone: settings.time_zone,
    quiet: settings.quiet_from != null,
    quietFrom: clock(settings.quiet_from ?? NIGHT.from),
    quietUntil: clock(settings.quiet_until ?? NIGHT.until),
    digest: settings.digest,
    reportAt: clock(settings.report_minute),
    staleMinutes: String(settings.stale_minutes),
    drawdown: String(settings.drawdown_percent),
    marginLevel: String(settings.margin_level_percent),
  }
}

/** What cannot be right, by the name that the farm has for the field. */
export function timesProblems(form: TimesForm): Record<string, string> {
  const problems: Record<string, string> = {}
  const stale = parseNumber(form.staleMinutes)
  if (stale === null || !Number.isInteger(stale) || stale < 1 || stale > 1440) problems["stale_minutes"] = "Whole minutes, from 1 to 1440."
  const drawdown = parseNumber(form.drawdown)
  if (drawdown === null || drawdown <= 0 || drawdown > 100) problems["drawdown_percent"] = "More than 0 and at most 100 %."
  const margin = parseNumber(form.marginLevel)
  if (margin === null || margin <= 0 || margin > 100_000) problems["margin_level_percent"] = "More than 0 and at most 100000 %."
  if (form.quiet && form.quietFrom === form.quietUntil) problems["quiet_until"] = "Quiet hours must end at another time than they begin."
  return problems
}

/** Of a form without problems. */
export function withTimes(settings: SettableAlerts, form: TimesForm): SettableAlerts {
  return {
    ...settings,
    time_zone: form.timeZone.trim(),
    quiet_from: form.quiet ? minutes(form.quietFrom) : null,
    quiet_until: form.quiet ? minutes(form.quietUntil) : null,
    digest: form.digest,
    report_minute: minutes(form.reportAt) ?? settings.report_minute,
    stale_minutes: parseNumber(form.staleMinutes) ?? settings.stale_minutes,
    drawdown_percent: parseNumber(form.drawdown) ?? settings.drawdown_percent,
    margin_level_percent: parseNumber(form.marginLevel) ?? settings.margin_level_percent,
  }
}

export const THRESHOLD_KINDS: readonly { value: ThresholdKind; label: string; unit: "price" | "money" | "%" }[] = [
  { value: "margin_level_below", label: "Margin level below", unit: "%" },
  { value: "drawdown_above", label: "Drawdown above", unit: "%" },
  { value: "equity_below", label: "Equity below", unit: "money" },
  { value: "equity_above", label: "Equity above", unit: "money" },
  { value: "price_below", label: "Price below", unit: "price" },
  { value: "price_above", label: "Price above", unit: "price" },
]

export const isAboutPrice = (kind: ThresholdKind): boolean => kind === "price_above" || kind === "price_below"

/** `EURUSD: price above 1.2`, `Margin level below 150 %`. */
export function thresholdWords(threshold: Pick<Threshold, "kind" | "symbol" | "value">): string {
  const kind = THRESHOLD_KINDS.find((each) => each.value === threshold.kind)
  const value = threshold.value.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "")
  const figure = kind?.unit === "%" ? `${value} %` : value
  const label = kind?.label ?? threshold.kind
  return threshold.symbol ? `${threshold.symbol}: ${label.toLowerCase()} ${figure}` : `${label} ${figure}`
}

export function webhookStatus(webhook: Pick<Webhook, "state">): Status {
  return webhook.state === "active" ? { label: "Active", tone: "ok" } : { label: "Disabled", tone: "idle" }
}

export function deliveryStatus(delivery: Pick<Delivery, "state" | "attempts">): Status {
  if (delivery.state === "delivered") return { label: "Delivered", tone: "ok" }
  if (delivery.state === "dead") return { label: "Given up", tone: "bad" }
  return delivery.attempts ? { label: "Will be tried again", tone: "warn" } : { label: "On its way", tone: "busy" }
}

/** How the receiver answered: `Answered 200 in 12 ms.`, or what went wrong. */
export function deliveryWords(delivery: Pick<Delivery, "status_code" | "milliseconds" | "error" | "attempts">): string {
  const tries = delivery.attempts > 1 ? ` ${delivery.attempts} attempts.` : ""
  if (delivery.error) return `${delivery.error}${tries}`
  if (delivery.status_code === null) return ""
  const took = delivery.milliseconds === null ? "" : ` in ${delivery.milliseconds} ms`
  return `Answered ${delivery.status_code}${took}.${tries}`
}
