;(function () {
  var choice = null
  try {
    choice = localStorage.getItem("mt5farm.theme")
  } catch (_) {
    // Storage may be forbidden; the system's theme is used then.
  }
  var dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches)
  document.documentElement.dataset.theme = dark ? "dark" : "light"
})()
