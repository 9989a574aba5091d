/** Hands a text to the browser as a file. */
export function downloadText(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement("a")
  link.href = address
  link.download = name
  link.click()
  // The browser has taken its own hold on the data once the click is handled.
  setTimeout(() => URL.revokeObjectURL(address), 0)
}
