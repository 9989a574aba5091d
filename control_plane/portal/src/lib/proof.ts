/** Some things the farm does only for somebody who has just proved who they are. One dialog asks, then the work is tried again. */

import { readonly, ref } from "vue"
import { Problem } from "../api/client"

const asked = ref(false)
let answer: ((proved: boolean) => void) | null = null

function ask(): Promise<boolean> {
  answer?.(false)
  asked.value = true
  return new Promise((resolve) => {
    answer = resolve
  })
}

/** The dialog has been answered; `proved` is whether the farm was satisfied. */
function settle(proved: boolean): void {
  asked.value = false
  answer?.(proved)
  answer = null
}

/** Throws the farm's own `step_up_required` when the reader would rather not. */
export async function withProof<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Problem && error.code === "step_up_required" && (await ask())) return work()
    throw error
  }
}

export function useProofDialog() {
  return { asked: readonly(asked), settle }
}
