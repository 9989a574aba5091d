import type { QueryClient } from "@tanstack/vue-query"
import { createRouter, createWebHistory, type RouteLocationNormalized, type Router, type RouteRecordRaw } from "vue-router"
import { meQuery } from "./api/queries"
import type { User } from "./api/types"

declare module "vue-router" {
  interface RouteMeta {
    title: string
    /** Shown to people who are not signed in. */
    open?: boolean
    /** A page of its own before the sign-in, without the frame of the portal. */
    entry?: boolean
  }
}

const entryRoutes: RouteRecordRaw[] = [
  { path: "/sign-in", name: "sign-in", component: () => import("./screens/entry/SignInScreen.vue"), meta: { title: "Sign in" } },
  { path: "/sign-up", name: "sign-up", component: () => import("./screens/entry/SignUpScreen.vue"), meta: { title: "Create an account" } },
  { path: "/verify-email", name: "verify-email", component: () => import("./screens/entry/VerifyEmailScreen.vue"), meta: { title: "Confirm your address" } },
  { path: "/forgot-password", name: "forgot-password", component: () => import("./screens/entry/ForgotPasswordScreen.vue"), meta: { title: "Forgot your password" } },
  { path: "/reset-password", name: "reset-password", component: () => import("./screens/entry/ResetPasswordScreen.vue"), meta: { title: "Set a new password" } },
  { path: "/accept-invitation", name: "accept-invitation", component: () => import("./screens/entry/AcceptInvitationScreen.vue"), meta: { title: "You are invited" } },
  { path: "/undo-email-change", name: "undo-email-change", component: () => import("./screens/entry/UndoEmailScreen.vue"), meta: { title: "Take your address back" } },
  { path: "/unsubscribe", name: "unsubscribe", component: () => import("./screens/entry/UnsubscribeScreen.vue"), meta: { title: "No more mails" } },
  { path: "/mail", name: "mail", component: () => import("./screens/entry/MailScreen.vue"), meta: { title: "Mail" } },
].map((route) => ({ ...route, meta: { ...route.meta, open: true, entry: true } }))

export function createPortalRouter(client: QueryClient): Router {
  const router = createRouter({
    history: createWebHistory(),
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
    routes: [
      { path: "/", name: "accounts", component: () => import("./screens/AccountsScreen.vue"), meta: { title: "Accounts" } },
      { path: "/connect", name: "connect", component: () => import("./screens/ConnectScreen.vue"), meta: { title: "Connect an account" } },
      {
        path: "/accounts/:id",
        name: "account",
        component: () => import("./screens/account/AccountScreen.vue"),
        props: true,
        meta: { title: "Account" },
      },
      {
        path: "/accounts/:id/statistics",
        name: "statistics",
        component: () => import("./screens/statistics/StatisticsScreen.vue"),
        props: true,
        meta: { title: "Statistics" },
      },
      { path: "/backtests", name: "backtests", component: () => import("./screens/backtests/BacktestsScreen.vue"), meta: { title: "Backtests" } },
      { path: "/fleet", name: "fleet", component: () => import("./screens/fleet/FleetScreen.vue"), meta: { title: "Fleet" } },
      {
        path: "/fleet/:id",
        name: "node",
        component: () => import("./screens/fleet/NodeScreen.vue"),
        props: true,
        meta: { title: "Node" },
      },
      { path: "/alerts", name: "alerts", component: () => import("./screens/AlertsScreen.vue"), meta: { title: "Alerts" } },
      {
        path: "/alerts/settings",
        name: "alert-settings",
        component: () => import("./screens/alerts/AlertSettingsScreen.vue"),
        meta: { title: "Alert settings" },
      },
      { path: "/bots", name: "bots", component: () => import("./screens/bots/BotsScreen.vue"), meta: { title: "Bots" } },
      { path: "/copying", name: "copying", component: () => import("./screens/copying/CopyingScreen.vue"), meta: { title: "Copy trading" } },
      { path: "/kill-switches", name: "kill-switches", component: () => import("./screens/safety/SafetyScreen.vue"), meta: { title: "Kill switches" } },
      { path: "/settings", name: "settings", component: () => import("./screens/settings/SettingsScreen.vue"), meta: { title: "Settings" } },
      {
        path: "/confirm-email",
        name: "confirm-email",
        component: () => import("./screens/settings/ConfirmEmailScreen.vue"),
        meta: { title: "Confirm your new address" },
      },
      ...entryRoutes,
      { path: "/:rest(.*)*", name: "not-found", component: () => import("./screens/NotFoundScreen.vue"), meta: { title: "Not found", open: true } },
    ],
  })

  router.beforeEach(async (to) => {
    const user = await whoIsThere(client)
    if (user === null && !to.meta.open) return { name: "sign-in", query: { next: to.fullPath } }
    if (user && (to.name === "sign-in" || to.name === "sign-up")) return nextAfterSignIn(to)
    // The farm does nothing else for such a user; the settings say why and what to do.
    if (user?.second_factor_missing && !to.meta.open && to.name !== "settings" && to.name !== "confirm-email") return { name: "settings" }
    return true
  })
  router.afterEach((to) => {
    document.title = `${to.meta.title} · MT5 Farm`
  })
  return router
}

/** Undefined when the farm cannot be asked: the page then opens and says so. */
async function whoIsThere(client: QueryClient): Promise<User | null | undefined> {
  try {
    return await client.ensureQueryData(meQuery)
  } catch {
    return undefined
  }
}

/** Where the reader wanted to go. Only paths of this site: `//elsewhere` would leave it. */
export function nextAfterSignIn(route: RouteLocationNormalized): string {
  const next = route.query["next"]
  return typeof next === "string" && /^\/(?![/\\])/.test(next) ? next : "/"
}
