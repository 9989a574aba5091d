import { computed, ref, toValue, type ComputedRef, type MaybeRefOrGetter, type Ref } from "vue"
import { asProblem, type Problem } from "../api/client"
import { withProof } from "./proof"

export interface Submission {
  busy: Readonly<Ref<boolean>>
  problem: Readonly<Ref<Problem | null>>
  /** Set while there is a problem that belongs to no single field of the form. */
  general: ComputedRef<Problem | null>
  fieldError: (name: string) => string | null
  run: (work: () => Promise<void>) => Promise<void>
  forget: () => void
}

/** One form being sent: busy, and the farm's words put to the field they belong to, proof given where it asks for it. `fields` are those the form can show. */
export function useSubmission(fields: MaybeRefOrGetter<readonly string[]>): Submission {
  const busy = ref(false)
  const problem = ref<Problem | null>(null)

  const fieldError = (name: string): string | null => problem.value?.fields[name] ?? null
  const general = computed(() => (problem.value && !toValue(fields).some((name) => fieldError(name)) ? problem.value : null))

  async function run(work: () => Promise<void>): Promise<void> {
    if (busy.value) return
    busy.value = true
    problem.value = null
    try {
      await withProof(work)
    } catch (error) {
      problem.value = asProblem(error)
    } finally {
      busy.value = false
    }
  }
  function forget(): void {
    problem.value = null
  }
  return { busy, problem, general, fieldError, run, forget }
}
