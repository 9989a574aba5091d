import type { Deal, SymbolInfo } from "../api/types"

/** Choices of a symbol select; a dash stands for "not known yet". */
export function optionsOf(symbols: readonly SymbolInfo[]): { value: string; label: string }[] {
  if (symbols.length === 0) return [{ value: "", label: "–" }]
  return symbols.map((symbol) => ({ value: symbol.name, label: symbol.name }))
}

/** What the chart shows first: the symbol traded last, else the first of the list. `deals` come newest first. */
export function startingSymbol(symbols: readonly SymbolInfo[], deals: readonly Deal[]): string {
  const known = new Set(symbols.map((symbol) => symbol.name))
  return deals.find((deal) => known.has(deal.symbol))?.symbol ?? symbols[0]?.name ?? ""
}
