import type { QueryClient } from "@tanstack/vue-query"
import { createRouter, createWebHistory, type RouteLocationNormalized, type Router } from "vue-router"
import { meQuery } from "./api/queries"

declare module "vue-router" {
  interface RouteMeta {
    title: string
    /** Shown to people who are not signed in. */
    open?: boolean
  }
}

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
      { path: "/fleet", name: "fleet", component: () => import("./screens/fleet/FleetScreen.vue"), meta: { title: "Fleet" } },
      {
        path: "/fleet/:id",
        name: "node",
        component: () => import("./screens/fleet/NodeScreen.vue"),
        props: true,
        meta: { title: "Node" },
      },
      { path: "/settings", name: "settings", component: () => import("./screens/SettingsScreen.vue"), meta: { title: "Settings" } },
      { path: "/sign-in", name: "sign-in", component: () => import("./screens/SignInScreen.vue"), meta: { title: "Sign in", open: true } },
      { path: "/sign-up", name: "sign-up", component: () => import("./screens/SignUpScreen.vue"), meta: { title: "Create an account", open: true } },
      { path: "/:rest(.*)*", name: "not-found", component: () => import("./screens/NotFoundScreen.vue"), meta: { title: "Not found", open: true } },
    ],
  })

  router.beforeEach(async (to) => {
    const signedIn = await isSignedIn(client)
    if (signedIn === false && !to.meta.open) return { name: "sign-in", query: { next: to.fullPath } }
    if (signedIn && (to.name === "sign-in" || to.name === "sign-up")) return nextAfterSignIn(to)
    return true
  })
  router.afterEach((to) => {
    document.title = `${to.meta.title} · MT5 Farm`
  })
  return router
}

/** Null when the farm cannot be asked: the page then opens and says so. */
async function isSignedIn(client: QueryClient): Promise<boolean | null> {
  try {
    return (await client.ensureQueryData(meQuery)) !== null
  } catch {
    return null
  }
}

/** Where the reader wanted to go. Only paths of this site: `//elsewhere` would leave it. */
export function nextAfterSignIn(route: RouteLocationNormalized): string {
  const next = route.query["next"]
  return typeof next === "string" && /^\/(?![/\\])/.test(next) ? next : "/"
}
