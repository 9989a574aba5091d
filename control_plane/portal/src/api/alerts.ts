/** What the farm has told the reader, and what they want to be told. */

import { useQuery } from "@tanstack/vue-query"
import { api, unwrap } from "./client"
import { keys } from "./queries"

export function useAlerts() {
  return useQuery({ queryKey: keys.alerts, queryFn: () => unwrap(api.GET("/api/v1/alerts")), refetchInterval: 60_000 })
}

export function useAlertSettings() {
  return useQuery({ queryKey: keys.alertSettings, queryFn: () => unwrap(api.GET("/api/v1/alerts/settings")) })
}
