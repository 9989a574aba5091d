/** What a user signs in with: sessions, second factor, keys for programs. */

import { useQuery, type UseQueryReturnType } from "@tanstack/vue-query"
import { api, unwrap } from "./client"
import { keys } from "./queries"
import type { ApiKey, Passkey, SecondFactor, Session } from "./types"

export function useSessions(): UseQueryReturnType<Session[], Error> {
  return useQuery({
    queryKey: keys.sessions,
    queryFn: async () => (await unwrap(api.GET("/api/v1/auth/sessions"))).items,
  })
}

export function useSecondFactor(): UseQueryReturnType<SecondFactor, Error> {
  return useQuery({
    queryKey: keys.secondFactor,
    queryFn: () => unwrap(api.GET("/api/v1/auth/second-factor")),
  })
}

export function usePasskeys(): UseQueryReturnType<Passkey[], Error> {
  return useQuery({
    queryKey: keys.passkeys,
    queryFn: async () => (await unwrap(api.GET("/api/v1/auth/passkeys"))).items,
  })
}

export function useApiKeys(): UseQueryReturnType<ApiKey[], Error> {
  return useQuery({
    queryKey: keys.apiKeys,
    queryFn: async () => (await unwrap(api.GET("/api/v1/auth/api-keys"))).items,
  })
}
