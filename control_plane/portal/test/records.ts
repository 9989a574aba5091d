/** Complete records of the contract for tests; each test changes what it is about. */

import type { Account, Bar, Bot, Deal, Order, SymbolInfo, Terminal } from "../src/api/types"

export const terminal = (change: Partial<Terminal> = {}): Terminal => ({
  id: "ter_0000000000000001",
  intent: "running",
  hold: "none",
  phase: "ready",
  reason: null,
  detail: "",
  explanation: "Connected.",
  since: "2026-03-02T10:00:00Z",
  last_answer_at: null,
  node_name: "node-1",
  epoch: 1,
  ...change,
})

export const account = (change: Partial<Account> = {}): Account => ({
  id: "acc_0000000000000001",
  label: "Main",
  login: 5001,
  server: "MT5Farm-Demo",
  currency: "USD",
  terminal: terminal(),
  snapshot: null,
  created_at: "2026-03-02T10:00:00Z",
  ...change,
})

export const deal = (change: Partial<Deal> = {}): Deal => ({
  ticket: 1,
  order_ticket: 1,
  position_ticket: 1,
  symbol: "EURUSD",
  type: "buy",
  entry: "in",
  volume: 0.1,
  price: 1.1,
  profit: "0.00",
  commission: "0.00",
  swap: "0.00",
  fee: "0.00",
  magic: 0,
  bot_id: null,
  reason: "client",
  comment: "",
  broker_time_msc: 1_000_000,
  recorded_at: "2026-03-02T10:00:00Z",
  ...change,
})

export const order = (change: Partial<Order> = {}): Order => ({
  id: "ord_0000000000000001",
  account_id: "acc_0000000000000001",
  kind: "open",
  symbol: "EURUSD",
  side: "buy",
  volume: 0.1,
  stop_loss: null,
  take_profit: null,
  position_ticket: null,
  state: "done",
  retcode: 10009,
  retcode_name: "DONE",
  message: "",
  order_ticket: 7,
  deal_ticket: 8,
  price: 1.1,
  principal: "user:usr_1",
  created_at: "2026-03-02T10:00:00Z",
  settled_at: null,
  ...change,
})

export const bot = (change: Partial<Bot> = {}): Bot => ({
  id: "bot_0000000000000001",
  account_id: "acc_0000000000000001",
  name: "Cross",
  strategy: "ma_cross",
  symbol: "EURUSD",
  timeframe: "M1",
  volume: 0.1,
  parameters: {},
  magic: 1,
  intent: "running",
  phase: "running",
  reason: "",
  since: "2026-03-02T10:00:00Z",
  restarts: 0,
  trades: 0,
  profit: "0.00",
  created_at: "2026-03-02T10:00:00Z",
  ...change,
})

export const bar = (time: number, close = 1.1): Bar => ({ time, open: close, high: close, low: close, close, tick_volume: 1 })

export const eurusd: SymbolInfo = {
  name: "EURUSD",
  description: "Euro vs US Dollar",
  digits: 5,
  point: 0.00001,
  volume_min: 0.01,
  volume_max: 50,
  volume_step: 0.01,
  stops_level: 10,
  bid: 1.1,
  ask: 1.10012,
  broker_time: 0,
}
