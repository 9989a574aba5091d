/** What the screens read: one place for the keys of the cache, how often each entry is renewed, and the requests behind it. */

import { useInfiniteQuery, useQueries, useQuery, type QueryClient, type UseQueryReturnType } from "@tanstack/vue-query"
import { computed, type Ref } from "vue"
import { isOpen } from "../lib/backtests"
import type { Choice } from "../lib/botForm"
import { mergeBars } from "../lib/chartData"
import { api, Problem, unwrap } from "./client"
import type { OrderWish } from "../lib/orderForm"
import type { Account, Backtest, Bar, CustomStrategy, Deal, FleetNode, FleetNodeDetail, Order, OrderPreview, Page, PendingOrder, Placement, Position, SymbolInfo, Transition, User, WaitingTerminal } from "./types"

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
  thresholds: ["alert-thresholds"] as const,
  telegram: ["telegram"] as const,
  webhooks: ["webhooks"] as const,
  deliveries: (webhookId: string) => ["webhook-deliveries", webhookId] as const,
  copiers: ["copiers"] as const,
  copiedTrades: (copierId: string) => ["copied-trades", copierId] as const,
  copiedPositions: (copierId: string) => ["copied-positions", copierId] as const,
  copyInvitations: ["copy-invitations"] as const,
  recordedMails: ["recorded-mails"] as const,
  accounts: ["accounts"] as const,
  account: (id: string) => ["account", id] as const,
  transitions: (id: string, kinds: string) => ["transitions", id, kinds] as const,
  uptime: (id: string) => ["uptime", id] as const,
  connectionTest: (id: string) => ["connection-test", id] as const,
  symbols: (id: string) => ["symbols", id] as const,
  bars: (id: string, symbol: string, timeframe: string) => ["bars", id, symbol, timeframe] as const,
  positions: (id: string) => ["positions", id] as const,
  pendingOrders: (id: string) => ["pending-orders", id] as const,
  preview: (id: string, wish: string) => ["order-preview", id, wish] as const,
  deals: (id: string) => ["deals", id] as const,
  recentDeals: (id: string) => ["recent-deals", id] as const,
  orders: (id: string) => ["orders", id] as const,
  equity: (id: string) => ["equity", id] as const,
  plans: ["plans"] as const,
  strategies: ["strategies"] as const,
  customStrategies: ["custom-strategies"] as const,
  backtests: ["backtests"] as const,
  backtestReport: (id: string) => ["backtest-report", id] as const,
  bots: (accountId: string) => ["bots", accountId] as const,
  allBots: ["all-bots"] as const,
  botChanges: (id: string) => ["bot-changes", id] as const,
  nodes: ["nodes"] as const,
  node: (id: string) => ["node", id] as const,
  waiting: ["waiting"] as const,
  placement: (id: string) => ["placement", id] as const,
  pools: ["pools"] as const,
  tenantPlacements: ["tenant-placements"] as const,
  breaker: ["breaker"] as const,
  guard: (accountId: string) => ["guard", accountId] as const,
  limitPresets: ["limit-presets"] as const,
  killSwitches: ["kill-switches"] as const,
  limitDefaults: ["limit-defaults"] as const,
  killSwitch: (id: string) => ["kill-switch", id] as const,
  botLog: (id: string) => ["bot-log", id] as const,
  paperDeals: (id: string) => ["paper-deals", id] as const,
  members: ["members"] as const,
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
export async function readAll<Item>(read: (cursor: string | undefined) => Promise<Page<Item>>): Promise<Item[]> {
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

export function usePendingOrders(id: Ref<string>, live: Ref<boolean>): UseQueryReturnType<PendingOrder[], Error> {
  return useQuery({
    queryKey: computed(() => keys.pendingOrders(id.value)),
    queryFn: async () => {
      const path = { account_id: id.value }
      return (await unwrap(api.GET("/api/v1/accounts/{account_id}/pending-orders", { params: { path } }))).items
    },
    enabled: live,
    refetchInterval: LIVE_MS,
    retry: false,
  })
}

/** What an order would need and risk now; asked again while it stands in the ticket. */
export function usePreview(id: Ref<string>, wish: Ref<OrderWish | null>) {
  return useQuery({
    queryKey: computed(() => keys.preview(id.value, JSON.stringify(wish.value))),
    queryFn: ({ queryKey }): Promise<OrderPreview> =>
      unwrap(
        api.POST("/api/v1/accounts/{account_id}/orders/preview", {
          params: { path: { account_id: id.value } },
          body: JSON.parse(queryKey[2]) as OrderWish,
        }),
      ),
    enabled: computed(() => wish.value !== null),
    refetchInterval: 2 * LIVE_MS,
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

/** The versions of an uploaded strategy, in the form of a built-in one; switches are 1 and 0. */
function asChoices(own: CustomStrategy): Choice[] {
  return own.versions.map((version, index) => ({
    name: version.id,
    title: `${own.name} (version ${version.number})`,
    description: version.description,
    family: own.id,
    superseded: index > 0,
    parameters: version.parameters.map((item) => ({
      name: item.name,
      title: item.title,
      help: item.help,
      type: item.type === "float" ? ("float" as const) : ("int" as const),
      default: Number(item.default),
      minimum: item.type === "bool" ? 0 : Number(item.minimum ?? -Number.MAX_VALUE),
      maximum: item.type === "bool" ? 1 : Number(item.maximum ?? Number.MAX_VALUE),
    })),
  }))
}

/** Built-in strategies and all versions of one's own. */
export function useStrategies(): UseQueryReturnType<Choice[], Error> {
  return useQuery({
    queryKey: keys.strategies,
    queryFn: async () => {
      const [builtIn, own] = await Promise.all([unwrap(api.GET("/api/v1/strategies")), readCustomStrategies()])
      return [...builtIn.items, ...own.flatMap(asChoices)]
    },
    staleTime: Infinity,
  })
}

const readCustomStrategies = (): Promise<CustomStrategy[]> =>
  readAll((cursor) => unwrap(api.GET("/api/v1/custom-strategies", { params: { query: { cursor } } })))

export function useCustomStrategies(): UseQueryReturnType<CustomStrategy[], Error> {
  return useQuery({ queryKey: keys.customStrategies, queryFn: readCustomStrategies })
}

const BACKTEST_MS = 1500

/** Newest first; asked again and again only while one of them has not ended. */
export function useBacktests(): UseQueryReturnType<Backtest[], Error> {
  return useQuery({
    queryKey: keys.backtests,
    queryFn: async () => (await unwrap(api.GET("/api/v1/backtests"))).items,
    refetchInterval: (query) => (query.state.data?.some(isOpen) ? BACKTEST_MS : false),
  })
}

const backtestReport = (id: string) => ({
  queryKey: keys.backtestReport(id),
  queryFn: () => unwrap(api.GET("/api/v1/backtests/{backtest_id}/report", { params: { path: { backtest_id: id } } })),
  staleTime: Infinity,
})

export function useBacktestReport(id: Ref<string>) {
  return useQuery(computed(() => backtestReport(id.value)))
}

export function useBacktestReports(ids: Ref<string[]>) {
  return useQueries({ queries: computed(() => ids.value.map(backtestReport)) })
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
