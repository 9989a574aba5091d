import { useQueryClient } from "@tanstack/vue-query"
import { api, unwrap } from "./client"
import { keys } from "./queries"
import { showPasskey, type ShownCredential } from "../lib/passkeys"
import type { User } from "./types"

export interface Proof {
  email: string
  password: string
  code: string | undefined
  passkey: ShownCredential | undefined
}

export interface Joining {
  token: string
  password: string
  display_name: string
}

/** Signing in and out; the cache of one user never survives into the session of another. */
export function useSession() {
  const client = useQueryClient()

  /** Entries that a mounted screen watches must stay in place, so only those of the former user go. */
  function become(user: User | null): void {
    client.removeQueries({ predicate: (query) => query.queryKey[0] !== keys.me[0] && query.queryKey[0] !== keys.farm[0] })
    client.setQueryData(keys.me, user)
  }

  return {
    acceptInvitation: async (body: Joining) => become(await unwrap(api.POST("/api/v1/auth/accept-invitation", { body }))),
    /** With a passkey alone. */
    signInWithPasskey: async () => {
      const credential = await passkeyForSignIn()
      become(await unwrap(api.POST("/api/v1/auth/passkeys/sign-in", { body: { credential } })))
    },
    signIn: async (body: Proof) => become(await unwrap(api.POST("/api/v1/auth/sign-in", { body }))),
    /** Finishes a sign-up with the link of its mail. */
    verifyEmail: async (token: string, password: string) =>
      become(await unwrap(api.POST("/api/v1/auth/verify-email", { body: { token, password } }))),
    signOut: async () => {
      await unwrap(api.POST("/api/v1/auth/sign-out"))
      become(null)
    },
  }
}

/** A passkey's answer, alone or to go with a password. */
export async function passkeyForSignIn(): Promise<ShownCredential> {
  return showPasskey((await unwrap(api.POST("/api/v1/auth/passkeys/sign-in-options"))).options)
}
