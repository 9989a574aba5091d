/** Where terminals go, in an operator's words. */

const VERDICTS: Record<string, string> = {
  chosen: "chosen",
  fits: "fits",
  runtime: "cannot run this kind of terminal",
  pool: "in another pool",
  region: "in another region",
  labels: "lacks labels",
  dedicated: "kept for another tenant",
  shared: "not one of the tenant's own",
  offline: "silent",
  identity: "identity not trusted",
  cordoned: "cordoned",
  draining: "draining",
  quarantined: "quarantined",
  pressure: "short of memory or disk",
  full: "full",
  memory: "too little memory left to reserve",
}

export function verdictText(verdict: string): string {
  return VERDICTS[verdict] ?? verdict
}

export function writeLabels(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(", ")
}

/** `disk=ssd, cpu=new` as a record; null for what is none. */
export function parseLabels(text: string): Record<string, string> | null {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean)
  const pairs = parts.map((part) => /^([^=\s]+)\s*=\s*([^=\s]+)$/.exec(part))
  const found: Record<string, string> = {}
  for (const pair of pairs) {
    if (!pair?.[1] || !pair[2]) return null
    found[pair[1]] = pair[2]
  }
  return found
}

/** `3.5 GiB`. */
export function formatGiB(bytes: number | null): string {
  return bytes === null ? "–" : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}
