export interface Part {
  text: string
  link: boolean
}

/** A plain text with its web addresses set apart. Nothing else becomes a link. */
export function textAndLinks(text: string): Part[] {
  return text
    .split(/(https?:\/\/\S+)/)
    .filter(Boolean)
    .map((part) => ({ text: part, link: /^https?:\/\//.test(part) }))
}
