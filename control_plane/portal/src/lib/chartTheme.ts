import type { ChartOptions, DeepPartial } from "lightweight-charts"

const variable = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

export interface ChartColors {
  up: string
  down: string
  accent: string
  muted: string
}

/** The page's own colours; a canvas cannot read CSS variables by itself. */
export function chartColors(): ChartColors {
  return { up: variable("--up"), down: variable("--down"), accent: variable("--accent"), muted: variable("--muted") }
}

export function chartOptions(): DeepPartial<ChartOptions> {
  const line = variable("--line")
  return {
    layout: {
      background: { color: "transparent" },
      textColor: variable("--muted"),
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 11,
      attributionLogo: true,
    },
    grid: { vertLines: { color: line, style: 1 }, horzLines: { color: line, style: 1 } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line },
    crosshair: { vertLine: { labelBackgroundColor: variable("--edge") }, horzLine: { labelBackgroundColor: variable("--edge") } },
  }
}
