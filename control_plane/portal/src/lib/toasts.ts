import { readonly, ref } from "vue"

export type ToastTone = "good" | "bad" | "info"

export interface Toast {
  id: number
  tone: ToastTone
  title: string
  text: string
}

const SHOWN_MS = 6000
const MOST_SHOWN = 3

const toasts = ref<Toast[]>([])
const timers = new Map<number, ReturnType<typeof setTimeout>>()
let lastId = 0

function dismiss(id: number): void {
  hold(id)
  toasts.value = toasts.value.filter((toast) => toast.id !== id)
}

/** The toast stays while it is read. */
function hold(id: number): void {
  clearTimeout(timers.get(id))
  timers.delete(id)
}

function release(id: number): void {
  hold(id)
  timers.set(
    id,
    setTimeout(() => dismiss(id), SHOWN_MS),
  )
}

export function useToasts() {
  function show(tone: ToastTone, title: string, text = ""): void {
    lastId += 1
    for (const old of toasts.value.slice(0, Math.max(0, toasts.value.length - MOST_SHOWN + 1))) dismiss(old.id)
    toasts.value = [...toasts.value, { id: lastId, tone, title, text }]
    release(lastId)
  }
  return { toasts: readonly(toasts), show, dismiss, hold, release }
}
