/** What the screens read: one place for the keys of the cache, how often each entry is renewed, and the requests behind it. */

import { useInfiniteQuery, useQuery, type QueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import { mergeBars } from "../lib/chartData"
import { api, Problem, unwrap } from "./client"
import type { Account, Bar, Bot, Deal, FleetNode, FleetNodeDetail, Order, Page, Placement, Position, Strategy, SymbolInfo, Transition, User, WaitingTerminal } from "./types"

export const keys = {
  farm: ["farm"] as const,
  me: ["me"] as const,
  sessions: ["sessions"] as const,
  secondFactor: ["second-factor"] as const,
  apiKeys: ["api-keys"] as const,
  passkeys: ["passkeys"] as const,
  invitations: ["invitations"] as const,
  alerts: ["alerts"] as const,
  alertSettings: ["alert-settings"] as const,
  recordedMails: ["recorded-mails"] as const,
  accounts: ["accounts"] as const,
  account: (id: string) => ["account", id] as const,
  transitions: (id: string, kinds: string) => ["transitions", id, kinds] as const,
  uptime: (id: string) => ["uptime", id] as const,
  connectionTest: (id: string) => ["connection-test", id] as const,
  symbols: (id: string) => ["symbols", id] as const,
  bars: (id: string, symbol: string, timeframe: string) => ["bars", id, symbol, timeframe] as const,
  positions: (id: string) => ["positions", id] as const,
  deals: (id: string) => ["deals", id] as const,
  recentDeals: (id: string) => ["recent-deals", id] as const,
  orders: (id: string) => ["orders", id] as const,
  equity: (id: string) => ["equity", id] as const,
  strategies: ["strategies"] as const,
  bots: (accountId: string) => ["bots", accountId] as const,
  nodes: ["nodes"] as const,
  node: (id: string) => ["node", id] as const,
  waiting: ["waiting"] as const,
  placement: (id: string) => ["placement", id] as const,
  pools: ["pools"] as const,
  tenantPlacements: ["tenant-placements"] as const,
  breaker: ["breaker"] as const,
  botLog: (id: string) => ["bot-log", id] as const,
}

const LIVE_MS = 1500
const CHART_BARS = 300
/** Enough to overlap the known bars when market time runs much faster than ours. */
const NEWEST_BARS = 40
const PAGE = 25

/** A second attempt only where it can help; the live entries come round again by themselves. */
export function shouldRetry(failures: number, error: unknown): boolean {
  return failures < 2 && error instanceof Problem && (error.status === 0 || error.status >= 500)
}

/** Follows the cursor to the end. For lists that stay small: a trader's accounts, an account's bots. */
async function readAll<Item>(read: (cursor: string | undefined) => Promise<Page<Item>>): Promise<Item[]> {
  const items: Item[] = []
  let cursor: string | undefined
  do {
    const page = await read(cursor)
    items.push(...page.items)
    cursor = page.next_cursor ?? undefined
  } while (cursor)
  return items
}

export function useFarm() {
  return useQuery({
    queryKey: keys.farm,
    queryFn: () => unwrap(api.GET("/api/v1/farm")),
    staleTime: Infinity,
  })
}

/** The signed-in user, null when nobody is. */
export const meQuery = {
  queryKey: keys.me,
  staleTime: 60_000,
  queryFn: async (): Promise<User | null> => {
    try {
      return await unwrap(api.GET("/api/v1/me"))
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null
      throw error
    }
  },
}

export function useMe() {
  return useQuery(meQuery)
}

export function useAccounts(): UseQueryReturnType<Account[], Error> {
  return useQuery({
    queryKey: keys.accounts,
    queryFn: () => readAll((cursor) => unwrap(api.GET("/api/v1/accounts", { params: { query: { cursor } } }))),
    // The stream brings changes at once; this heals what a lost link made us miss.
    refetchInterval: 30_000,
  })
}

export function useAccount(id: Ref<string>, client: QueryClient) {
  return useQuery({
    queryKey: computed(() => keys.account(id.value)),
    queryFn: () => unwrap(api.GET("/api/v1/accounts/{account_id}", { params: { path: { account_id: id.value } } })),
    placeholderData: () => client.getQueryData<Account[]>(keys.accounts)?.find((account) => account.id === id.value),
    // Its age is shown by the second; the stream brings what changes, and an answer more is no change.
    refetchInterval: 5000,
  })
}

export function useUptime(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.uptime(id.value)),
    queryFn: () => unwrap(api.GET("/api/v1/accounts/{account_id}/uptime", { params: { path: { account_id: id.value } } })),
    refetchInterval: 30_000,
  })
}

/** The newest page of the terminal's timeline, and older ones on demand. */
export function useTransitions(id: Ref<string>, kinds: Ref<Transition["kind"][]>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.transitions(id.value, kinds.value.join())),
    queryFn: ({ pageParam }: { pageParam: string | undefined }) =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/transitions", {
          params: { path: { account_id: id.value }, query: { kind: kinds.value, cursor: pageParam, limit: PAGE } },
        }),
      ),
    initialPageParam: undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    refetchInterval: 15_000,
  })
}

/** Asks again until the test has ended. */
export function useConnectionTest(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.connectionTest(id.value)),
    queryFn: () => unwrap(api.GET("/api/v1/connection-tests/{test_id}", { params: { path: { test_id: id.value } } })),
    enabled: computed(() => id.value !== ""),
    refetchInterval: ({ state }) => (state.data && state.data.outcome !== "pending" ? false : 1000),
  })
}

export function useSymbols(id: Ref<string>, live: Ref<boolean>): UseQueryReturnType<SymbolInfo[], Error> {
  return useQuery({
    queryKey: computed(() => keys.symbols(id.value)),
    queryFn: async () => {
      const path = { account_id: id.value }
      return (await unwrap(api.GET("/api/v1/accounts/{account_id}/symbols", { params: { path } }))).items
    },
    enabled: live,
    refetchInterval: LIVE_MS,
    retry: false,
  })
}

export function useBars(id: Ref<string>, symbol: Ref<string>, timeframe: Ref<string>, live: Ref<boolean>, client: QueryClient) {
  const read = async (count: number): Promise<Bar[]> => {
    const params = { path: { account_id: id.value }, query: { symbol: symbol.value, timeframe: timeframe.value, count } }
    return (await unwrap(api.GET("/api/v1/accounts/{account_id}/bars", { params }))).items
  }
  return useQuery({
    queryKey: computed(() => keys.bars(id.value, symbol.value, timeframe.value)),
    queryFn: async ({ queryKey }): Promise<Bar[]> => {
      const known = client.getQueryData<Bar[]>(queryKey)
      const merged = known ? mergeBars(known, await read(NEWEST_BARS), CHART_BARS) : null
      return merged ?? (await read(CHART_BARS))
    },
    enabled: computed(() => live.value && symbol.value !== ""),
    refetchInterval: LIVE_MS,
    retry: false,
  })
}

export function usePositions(id: Ref<string>, live: Ref<boolean>): UseQueryReturnType<Position[], Error> {
  return useQuery({
    queryKey: computed(() => keys.positions(id.value)),
    queryFn: async () => {
      const path = { account_id: id.value }
      return (await unwrap(api.GET("/api/v1/accounts/{account_id}/positions", { params: { path } }))).items
    },
    enabled: live,
    refetchInterval: LIVE_MS,
    retry: false,
  })
}

export function useDeals(id: Ref<string>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.deals(id.value)),
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/deals", {
          params: { path: { account_id: id.value }, query: { cursor: pageParam, limit: PAGE } },
        }),
      ),
    getNextPageParam: (page: Page<Deal>) => page.next_cursor ?? undefined,
  })
}

/** The newest deals as one list, for the chart's markers and the result of the day. */
export function useRecentDeals(id: Ref<string>): UseQueryReturnType<Deal[], Error> {
  return useQuery({
    queryKey: computed(() => keys.recentDeals(id.value)),
    queryFn: async () => {
      const params = { path: { account_id: id.value }, query: { limit: 200 } }
      return (await unwrap(api.GET("/api/v1/accounts/{account_id}/deals", { params }))).items
    },
    staleTime: 60_000,
  })
}

export function useOrders(id: Ref<string>) {
  return useInfiniteQuery({
    queryKey: computed(() => keys.orders(id.value)),
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/orders", {
          params: { path: { account_id: id.value }, query: { cursor: pageParam, limit: PAGE } },
        }),
      ),
    getNextPageParam: (page: Page<Order>) => page.next_cursor ?? undefined,
  })
}

export function useEquity(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.equity(id.value)),
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/accounts/{account_id}/equity", {
          params: { path: { account_id: id.value }, query: { limit: 500 } },
        }),
      ),
    refetchInterval: 5000,
  })
}

export function useStrategies(): UseQueryReturnType<Strategy[], Error> {
  return useQuery({
    queryKey: keys.strategies,
    queryFn: async () => (await unwrap(api.GET("/api/v1/strategies"))).items,
    staleTime: Infinity,
  })
}

export function useBots(accountId: Ref<string>): UseQueryReturnType<Bot[], Error> {
  return useQuery({
    queryKey: computed(() => keys.bots(accountId.value)),
    queryFn: () =>
      readAll((cursor) =>
        unwrap(api.GET("/api/v1/bots", { params: { query: { account_id: accountId.value, cursor } } })),
      ),
    refetchInterval: 15_000,
  })
}

const FLEET_MS = 5000

export function useNodes(): UseQueryReturnType<FleetNode[], Error> {
  return useQuery({
    queryKey: keys.nodes,
    queryFn: () => readAll((cursor) => unwrap(api.GET("/api/v1/nodes", { params: { query: { cursor } } }))),
    refetchInterval: FLEET_MS,
  })
}

export function useNode(id: Ref<string>): UseQueryReturnType<FleetNodeDetail, Error> {
  return useQuery({
    queryKey: computed(() => keys.node(id.value)),
    queryFn: () => unwrap(api.GET("/api/v1/nodes/{node_id}", { params: { path: { node_id: id.value } } })),
    refetchInterval: FLEET_MS,
  })
}

/** Terminals that should run and have no place. */
export function useWaiting(): UseQueryReturnType<WaitingTerminal[], Error> {
  return useQuery({
    queryKey: keys.waiting,
    queryFn: async () => (await unwrap(api.GET("/api/v1/placements"))).items,
    refetchInterval: FLEET_MS,
  })
}

export function usePlacement(terminalId: Ref<string>, open: Ref<boolean>): UseQueryReturnType<Placement, Error> {
  return useQuery({
    queryKey: computed(() => keys.placement(terminalId.value)),
    queryFn: () => unwrap(api.GET("/api/v1/placements/{terminal_id}", { params: { path: { terminal_id: terminalId.value } } })),
    enabled: open,
  })
}

export function usePools() {
  return useQuery({ queryKey: keys.pools, queryFn: () => unwrap(api.GET("/api/v1/pools")) })
}

export function useTenantPlacements() {
  return useQuery({ queryKey: keys.tenantPlacements, queryFn: () => unwrap(api.GET("/api/v1/tenant-placements")) })
}

/** Whether terminals of lost nodes may be moved at the moment. */
export function useBreaker() {
  return useQuery({
    queryKey: keys.breaker,
    queryFn: () => unwrap(api.GET("/api/v1/nodes/breaker")),
    refetchInterval: FLEET_MS,
  })
}

export function useBotLog(id: Ref<string>, open: Ref<boolean>) {
  return useQuery({
    queryKey: computed(() => keys.botLog(id.value)),
    queryFn: async () => (await unwrap(api.GET("/api/v1/bots/{bot_id}/log", { params: { path: { bot_id: id.value } } }))).items,
    enabled: open,
    refetchInterval: 3000,
  })
}
