/** Keys that make a repeated POST harmless: the farm answers a known key with the first outcome and sends nothing again. */

/** 128 random bits. `crypto.randomUUID` does not exist on pages served over plain HTTP, this does. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/**
 * One key for one wish. While the outcome is unknown (the link broke), the same wish keeps its key; another wish, or the same
 * one after an answer, gets a new key.
 */
export class Attempt {
  private open: { wish: string; key: string } | null = null

  constructor(private readonly makeKey: () => string = newKey) {}

  keyFor(wish: unknown): string {
    const text = JSON.stringify(wish)
    if (this.open?.wish !== text) this.open = { wish: text, key: this.makeKey() }
    return this.open.key
  }

  /** The farm has answered, whatever it said. */
  answered(): void {
    this.open = null
  }
}
