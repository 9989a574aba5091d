import type { SymbolInfo } from "../api/types"

/** Choices of a symbol select; a dash stands for "not known yet". */
export function optionsOf(symbols: readonly SymbolInfo[]): { value: string; label: string }[] {
  if (symbols.length === 0) return [{ value: "", label: "–" }]
  return symbols.map((symbol) => ({ value: symbol.name, label: symbol.name }))
}
