import { computed, readonly, ref } from "vue"

export type ThemeChoice = "light" | "dark" | "system"

/** The same key is read by `public/theme.js` before the first paint. */
const KEY = "mt5farm.theme"

const systemDark = window.matchMedia("(prefers-color-scheme: dark)")
const systemIsDark = ref(systemDark.matches)
const choice = ref<ThemeChoice>(storedChoice())
const isDark = computed(() => (choice.value === "system" ? systemIsDark.value : choice.value === "dark"))

function storedChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(KEY)
    return stored === "light" || stored === "dark" ? stored : "system"
  } catch {
    return "system"
  }
}

function apply(): void {
  document.documentElement.dataset["theme"] = isDark.value ? "dark" : "light"
}

systemDark.addEventListener("change", (event) => {
  systemIsDark.value = event.matches
  apply()
})

export function useTheme() {
  function choose(next: ThemeChoice): void {
    choice.value = next
    apply()
    try {
      if (next === "system") localStorage.removeItem(KEY)
      else localStorage.setItem(KEY, next)
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
  }
  return { choice: readonly(choice), isDark, choose }
}
