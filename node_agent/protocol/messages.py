"""Bodies of the four exchanges between a node agent and the control plane.

Wish and observation never share a record: `Desired*` flows down and is written by the control plane only, `Observed*`
flows up and is written by the agent only. All times are UTC. Money is in the account currency unless said otherwise.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from node_agent.protocol.keys import TicketKey

PROTOCOL_VERSION = "1.2"

ENROLL_PATH = "/agent/v1/enroll"
SYNC_PATH = "/agent/v1/sync"
WATCH_PATH = "/agent/v1/watch"
EVENTS_PATH = "/agent/v1/events"
TEMPLATES_PATH = "/agent/v1/templates"
"""GET `TEMPLATES_PATH/<sha256>`: the bytes of a terminal template; signed like the others, range requests allowed."""
BUNDLES_PATH = "/agent/v1/bundles"
"""PUT `BUNDLES_PATH/<terminal id>/<request id>`: collected logs as tar.gz of at most `BUNDLE_BYTES`; idempotent."""
BUNDLE_BYTES = 16 * 1024 * 1024

CODE_PATH = "/agent/v1/code"
"""GET `CODE_PATH/<sha256>`: a user's strategy, packed; only for nodes that run a bot with it."""
CODE_BYTES = 4 * 1024 * 1024

Identifier = Annotated[str, Field(pattern=r"^[a-z]{3}_[0-9a-z]{16,32}$")]
"""Three letters for the kind (`nod`, `ter`, `acc`, `bot`, `ten`), an underscore, lower-case letters and digits."""


class Wire(BaseModel):
    """A frame. Unknown fields are ignored, so that a newer minor version can still talk to an older one."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Phase(StrEnum):
    """Where a terminal is in its life, as the agent sees it."""

    ABSENT = "absent"
    PREPARING = "preparing"
    LAUNCHING = "launching"
    LOGGING_IN = "logging_in"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    CRASH_LOOP = "crash_loop"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a terminal is not ready."""

    BAD_CREDENTIALS = "bad_credentials"
    BROKER_UNREACHABLE = "broker_unreachable"
    IPC_TIMEOUT = "ipc_timeout"
    ALGO_TRADING_OFF = "algo_trading_off"
    WRONG_ACCOUNT = "wrong_account"
    PROCESS_EXIT = "process_exit"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    LIVE_UPDATE = "live_update"
    TEMPLATE_BROKEN = "template_broken"
    LEASE_EXPIRED = "lease_expired"
    """The node has not heard from the control plane for so long that the terminal had to be ended (`self_fence`)."""


class BotPhase(StrEnum):
    """Where a bot is in its life, as the agent sees it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


class EnrollRequest(Wire):
    """First contact of a node. Keys are made on the node; only their public halves travel.

    `identity_key` and `sealing_key` are raw 32-byte public keys (Ed25519, X25519) in URL-safe base64 without padding.
    """

    protocol: str = PROTOCOL_VERSION
    token: str
    name: str = Field(min_length=1, max_length=64)
    identity_key: str
    sealing_key: str
    gateway_csr: str
    """PEM certificate request for the gateway's TLS key."""
    gateway_address: str
    """`host:port` under which clients and the control plane reach this node's gateway."""
    runtimes: list[str]
    slots: int = Field(ge=1)
    """How many terminals the node may host."""
    platform: str


class EnrollResponse(Wire):
    node_id: Identifier
    identity_expires_at: datetime
    ca_pem: str
    gateway_certificate: str
    """PEM chain for the gateway, signed by the farm's CA; its subject alternative names hold `node_id`."""
    ticket_keys: list[TicketKey]
    sync_seconds: float


class NodeReport(Wire):
    """The machine's own state, read by the agent."""

    agent_version: str
    clock: datetime
    cpu_count: int
    load_1m: float
    memory_total: int
    """Bytes."""
    memory_available: int
    disk_free: int
    gateway_address: str
    gateway_up: bool
    spooled_events: int
    problems: list[str] = []
    """What the node's operator should look at, for example a full disk or a taken gateway port."""
    watchdog_up: bool = False
    """A process beside the agent ends overdue `self_fence` terminals, whatever becomes of the agent."""
    clock_offset_ms: int | None = None
    """How far the node's wall clock is ahead of the control plane's; None before the first answered sync."""
    pressure: list[Literal["memory", "disk", "clock"]] = []
    """What the node is short of; it starts nothing new while short of memory or disk."""
    templates: list[str] = []
    """SHA-256 of the terminal templates that the node holds."""


class AccountSnapshot(Wire):
    """What the terminal's own `account_info()` answered; amounts in `currency`."""

    login: int
    server: str
    currency: str
    balance: float
    credit: float
    profit: float
    equity: float
    margin: float
    margin_free: float
    positions: int
    broker_time: int
    """Newest quote time in Market Watch, broker wall clock as seconds since 1970; 0 before the first quote."""
    taken_at: datetime


class LossLimit(Wire):
    """So much money in the account currency, or so many percent of what it is measured against."""

    value: float
    percent: bool = False


class TradingWindow(Wire):
    """Part of a weekday in which positions may be opened. Monday is 0, times are minutes of the broker's day."""

    day: int
    start: int
    end: int
    """Does not belong to it any more."""


class TradingPause(Wire):
    """Nothing is opened in this time; of these symbols and currencies, or of any when both are empty."""

    start: int
    """UTC seconds since 1970."""
    end: int
    """Does not belong to it any more."""
    symbols: list[str] = []
    currencies: list[str] = []


class BotRule(Wire):
    """What the bridge lets one bot do."""

    magic: int
    opens: bool = True
    """False lets it close what it has, and open nothing."""
    sends: bool = True
    """False for a bot on paper."""
    orders_per_minute: int = 120


class Guard(Wire):
    """Limits that the bridge enforces on every trade of the terminal; see `mt5_bridge.guard`. None means no limit.

    Agents of version 1.1 know `symbols`, `max_volume` and `trading` alone.
    """

    symbols: list[str] | None = None
    max_symbols: int | None = None
    max_volume: float | None = None
    """Lots in one request."""
    max_open_volume: float | None = None
    """Lots, of positions and waiting orders together."""
    max_positions: int | None = None
    max_orders: int | None = None
    orders_per_minute: int | None = None
    daily_loss: LossLimit | None = None
    day_base: Literal["balance", "equity", "higher"] = "higher"
    drawdown: LossLimit | None = None
    drawdown_trails: bool = False
    drawdown_start: float | None = None
    equity_floor: float | None = None
    hours: list[TradingWindow] | None = None
    pauses: list[TradingPause] = []
    on_breach: Literal["stop_opening", "close_all"] = "stop_opening"
    day_reset: int = 0
    """When a trading day begins, minutes of the broker's day."""
    utc_offsets: list[tuple[int, int]] = []
    """From which UTC second on the broker's clocks are ahead of UTC by how many seconds. Empty: UTC."""
    trading: bool = True
    """False refuses everything that opens or enlarges a position."""
    kill: Literal["none", "no_new_orders", "close_all"] = "none"
    kill_id: str = ""
    rearm_id: str = ""
    """Each new one clears, once, what has tripped."""
    bots: dict[str, BotRule] | None = None
    """By bot id; None from control planes that do not tell bots apart."""


class GuardTrip(Wire):
    """A loss limit that was hit. Amounts in the account currency."""

    switch: Literal["daily_loss", "drawdown", "equity_floor"]
    at: float
    """UTC seconds since 1970."""
    figure: float
    limit: float


class GuardLoss(Wire):
    """How far a loss limit is used up. Amounts in the account currency."""

    switch: Literal["daily_loss", "drawdown", "equity_floor"]
    figure: float
    """What has been lost; below 0 for a gain."""
    limit: float


class GuardLevel(Wire):
    """An equity that losses are counted from, as `mt5_bridge.guard_memory.Level`."""

    amount: float
    share: float
    given: float


class GuardLedger(Wire):
    """Up to where deposits and withdrawals are counted, as `mt5_bridge.balance_operations.Ledger`."""

    money: float
    ticket: int
    since: int


class GuardMemory(Wire):
    """What a guard must remember, for a node that has not held the account before; see `mt5_bridge.guard_memory`."""

    day: int | None = None
    day_base: float | None = None
    day_since: float = 0.0
    start: float | None = None
    peak: float | None = None
    day_base_share: float | None = None
    start_share: float | None = None
    peak_share: float | None = None
    given_start: GuardLevel | None = None
    floor: GuardLevel | None = None
    trips: list[GuardTrip] = []
    rearm_id: str = ""
    ledger: GuardLedger | None = None


class ObservedGuard(GuardMemory):
    """What the guard of a terminal has seen and done. None where the terminal could not be asked."""

    at: float
    """Of the last look at the account, UTC seconds since 1970."""
    equity: float | None = None
    positions: int | None = None
    orders: int | None = None
    flat: bool = False
    """Nothing is open, waits or is on its way, and the terminal has been connected long enough to know that."""
    kill_id: str = ""
    """Of the kill switch that was in effect at that look."""
    problem: str = ""
    """Why nothing may be opened although nothing has tripped: what must be remembered is lost."""
    closing_problem: str = ""
    """Why something that has to be closed is still open."""
    losses: list[GuardLoss] = []


class ObservedBot(Wire):
    bot_id: Identifier
    revision: int
    phase: BotPhase
    reason: str = ""
    since: datetime
    restarts: int = 0
    pid: int | None = None


class ObservedTerminal(Wire):
    terminal_id: Identifier
    epoch: int
    phase: Phase
    reason: Reason | None = None
    detail: str = ""
    """A sentence that is safe to show to the account's owner."""
    since: datetime
    last_answer_at: datetime | None = None
    """When a real call was last answered by the right account."""
    restarts: int = 0
    terminal_pid: int | None = None
    worker_pid: int | None = None
    account: AccountSnapshot | None = None
    bots: list[ObservedBot] = []
    finished_requests: list[str] = []
    flat: bool | None = None
    """No positions and no pending orders, as the last look at the account knew; None when it is not known."""
    memory: int | None = None
    """Bytes of the terminal's own processes, without worker and bots."""
    build: int | None = None
    """Build number that the terminal gave of itself."""
    screen: bool = False
    """People with a ticket of scope `view` may look at its screen."""
    guard: ObservedGuard | None = None
    """None while there is nothing to guard, from agents of version 1.1, and before the first look."""


class SyncRequest(Wire):
    """The agent's whole view. `boot_id` is new at each start, `sequence` rises by one with each sync of a boot."""

    protocol: str = PROTOCOL_VERSION
    boot_id: str
    sequence: int
    known_generation: int
    report: NodeReport
    terminals: list[ObservedTerminal]
    continuity: str = ""
    """Token of the last answer that this node has written to disk; empty from agents of version 1.0."""
    gateway_csr: str = ""
    """PEM certificate request for the key the gateway uses already, sent while its certificate nears its end."""


class CodeRef(Wire):
    """A file that a user has brought, named by what it holds. Nodes fetch it and run it in a sandbox."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1, le=CODE_BYTES)
    """Bytes of the packed file."""
    kind: Literal["strategy", "script"]
    """A subclass of `Strategy`, or an unmodified script that says `import MetaTrader5`."""
    entry: str
    """Name of the file to run, inside of the packed ones."""


class DesiredBot(Wire):
    """A strategy set to run on one terminal. A changed `revision` restarts the bot with the new settings."""

    bot_id: Identifier
    revision: int
    strategy: str
    symbol: str
    timeframe: str
    """Name without prefix, for example `M1` or `H4`."""
    volume: float
    """Lots."""
    magic: int
    parameters: dict[str, JsonValue]
    code: CodeRef | None = None
    """None for a strategy that is built in."""
    paper: bool = False
    """Its orders are filled by the bot itself at the terminal's prices, and never sent."""


class TemplateRef(Wire):
    """An installed portable folder that the operator imported, named by what it holds."""

    name: str
    build: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int
    """Bytes of the packed template."""


class TerminalRequest(Wire):
    """A one-off wish inside the snapshot; the agent carries it out once and lists its id in `finished_requests`."""

    request_id: str
    kind: Literal["restart", "collect_logs"]


class DesiredTerminal(Wire):
    """A terminal that this node should run.

    What is absent from the snapshot should not exist here: the agent stops it and removes its folder.
    """

    terminal_id: Identifier
    account_id: Identifier
    tenant_id: Identifier
    epoch: int
    """Fencing number; bridge and gateway refuse an older one."""
    running: bool
    runtime: str
    login: int
    server: str
    server_address: str | None = None
    """`host:port` of a simulated broker server; None for real ones, whose addresses the terminal knows."""
    credentials: str
    """Sealed to this node (`sealing.seal`), bound to tenant, account, terminal and epoch."""
    credentials_version: int
    """A higher version lifts a `bad_credentials` hold."""
    guard: Guard
    guard_memory: GuardMemory | None = None
    """For a worker whose folder has none of its own."""
    bots: list[DesiredBot] = []
    requests: list[TerminalRequest] = []
    lease_policy: Literal["keep_running", "self_fence"] = "keep_running"
    """What becomes of the terminal when its node loses touch: runs on, or must be dead after `fence_seconds`."""
    access_epoch: int = 0
    """Sessions opened with tickets of a lower access epoch end."""
    template: TemplateRef | None = None


class DesiredSnapshot(Wire):
    generation: int
    terminals: list[DesiredTerminal]
    revoked_tickets: list[str] = []
    """Ids of tickets that open no session any more and whose sessions end."""


class SyncResponse(Wire):
    protocol: str = PROTOCOL_VERSION
    generation: int
    desired: DesiredSnapshot | None
    """None when the agent already knows `generation`."""
    lease_seconds: float
    identity_expires_at: datetime
    ticket_keys: list[TicketKey]
    sync_seconds: float
    """When to sync next; stretched as the fleet grows."""
    server_time: datetime
    continuity: str = ""
    """Token to show with the next sync, after it was written to disk; empty from control planes of version 1.0."""
    fence_seconds: float | None = None
    """A terminal with policy `self_fence` must be dead this long after the *sending* of the last answered sync.
    None from control planes of version 1.0: then nothing is fenced.
    """
    gateway_certificate: str = ""
    """PEM chain for the key of `SyncRequest.gateway_csr`."""


class WatchResponse(Wire):
    """Answer to a long poll of at most 25 s; a nudge only, truth comes with the next sync."""

    generation: int


class DealBody(Wire):
    """One `TradeDeal` of the terminal, field for field, times in broker wall clock."""

    kind: Literal["deal"] = "deal"
    ticket: int
    order: int
    time: int
    time_msc: int
    type: int
    entry: int
    magic: int
    position_id: int
    reason: int
    volume: float
    price: float
    commission: float
    swap: float
    profit: float
    fee: float
    symbol: str
    comment: str
    external_id: str


class OrderBody(Wire):
    """One entry of the bridge's order journal, sent each time its state changes."""

    kind: Literal["order"] = "order"
    client_order_id: str
    principal: str
    """Who sent it: `user:<id>` or `bot:<id>`."""
    state: Literal["journaled", "sent", "done", "refused", "unknown", "not_executed"]
    retcode: int
    order: int
    deal: int
    symbol: str
    type: int
    volume: float
    price: float
    comment: str


class HistoryOrderBody(Wire):
    """One `TradeOrder` of the history, field for field, times in broker wall clock. Since 1.2."""

    kind: Literal["history_order"] = "history_order"
    ticket: int
    time_setup_msc: int
    time_done_msc: int
    time_expiration: int
    type: int
    type_time: int
    type_filling: int
    state: int
    magic: int
    position_id: int
    position_by_id: int
    reason: int
    volume_initial: float
    volume_current: float
    price_open: float
    sl: float
    tp: float
    price_current: float
    price_stoplimit: float
    symbol: str
    comment: str
    external_id: str


class OpenPosition(Wire):
    """What of a `TradePosition` does not move with the market; time in broker wall clock, milliseconds."""

    ticket: int
    identifier: int
    time_msc: int
    type: int
    magic: int
    reason: int
    volume: float
    price_open: float
    sl: float
    tp: float
    swap: float
    symbol: str
    comment: str


class PositionsBody(Wire):
    """All open positions, sent when they have changed. Since 1.2."""

    kind: Literal["positions"] = "positions"
    positions: list[OpenPosition]


class PaperFill(Wire):
    """An order that a bot on paper has filled by itself.

    Time in broker wall clock, seconds; profit in the account's currency, 0 for one that opens.
    """

    position: int = Field(ge=0, lt=2**53)
    entry: Literal["in", "out"]
    side: Literal["buy", "sell"]
    symbol: str = Field(min_length=1, max_length=64)
    volume: float = Field(gt=0, lt=1e9, allow_inf_nan=False)
    price: float = Field(ge=0, lt=1e12, allow_inf_nan=False)
    profit: float = Field(gt=-1e10, lt=1e10, allow_inf_nan=False)
    time: int = Field(ge=0, lt=2**40)


class BotLogBody(Wire):
    kind: Literal["bot_log"] = "bot_log"
    bot_id: Identifier
    level: Literal["info", "warning", "error"]
    text: str = Field(max_length=2000)
    fill: PaperFill | None = None


EventBody = Annotated[DealBody | OrderBody | HistoryOrderBody | PositionsBody | BotLogBody, Field(discriminator="kind")]


class Event(Wire):
    """Something that happened on a terminal. `event_id` is made on the node and makes delivery idempotent."""

    event_id: str = Field(min_length=1, max_length=120)
    terminal_id: Identifier
    account_id: Identifier
    epoch: int
    occurred_at: datetime
    body: EventBody


class EventBatch(Wire):
    protocol: str = PROTOCOL_VERSION
    events: list[Event] = Field(max_length=500)


class EventAck(Wire):
    """All events with these ids are stored (or were already, or can never be) and may leave the spool."""

    accepted: list[str]
    rejected: dict[str, str] = {}
    """Event id to reason; the agent logs these and drops them."""
