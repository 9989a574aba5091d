/** Short names for the records of the contract; the generated `schema.ts` holds their truth. */

import type { components } from "./schema"

type Schemas = components["schemas"]

export type ApiKey = Schemas["ApiKey"]
export type KeyScope = Schemas["KeyScope"]
export type Invitation = Schemas["Invitation"]
export type Passkey = Schemas["Passkey"]
export type Role = Schemas["Role"]
export type SecondFactor = Schemas["SecondFactor"]
export type Session = Schemas["Session"]
export type Account = Schemas["Account"]
export type Terminal = Account["terminal"]
export type ConnectionTest = Schemas["ConnectionTest"]
export type Transition = Schemas["Transition"]
export type Uptime = Schemas["Uptime"]
export type UptimeShare = Schemas["UptimeShare"]
export type Bar = Schemas["Bar"]
export type Bot = Schemas["Bot"]
export type Deal = Schemas["Deal"]
export type EquityPoint = Schemas["EquityPoint"]
export type FleetNode = Schemas["Node"]
export type FleetNodeDetail = Schemas["NodeDetail"]
export type NodeTerminal = Schemas["NodeTerminal"]
export type Placement = Schemas["Placement"]
export type WaitingTerminal = Schemas["Waiting"]
export type AlertSettings = Schemas["AlertSettings"]
export type Order = Schemas["Order"]
export type Position = Schemas["Position"]
export type Strategy = Schemas["Strategy"]
export type StrategyParameter = Schemas["StrategyParameter"]
export type SymbolInfo = Schemas["Symbol"]
export type User = Schemas["User"]
export type Side = Position["side"]

export interface Page<Item> {
  items: Item[]
  next_cursor: string | null
}
