/** Minutes after midnight between the farm's records and the fields of forms. */

/** `09:30` -> 570; null for what is no time of day. */
export function minutes(text: string): number | null {
  const match = /^(\d{1,2}):(\d{2})$/.exec(text.trim())
  return match ? Number(match[1]) * 60 + Number(match[2]) : null
}

export function clock(minute: number): string {
  return `${String(Math.floor(minute / 60) % 24).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`
}
