import tailwindcss from "@tailwindcss/vite"
import vue from "@vitejs/plugin-vue"
import { defineConfig } from "vitest/config"

const CONTROL_PLANE = process.env["MT5FARM_URL"] ?? "http://127.0.0.1:8080"

export default defineConfig({
  plugins: [vue(), tailwindcss()],
  build: {
    target: "es2022",
    // The content security policy allows no data: addresses, so every asset stays a file.
    assetsInlineLimit: 0,
    sourcemap: false,
    // The chart library is a chunk of its own of about this size.
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/api": { target: CONTROL_PLANE, ws: true } } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
})
