"""A whole control plane on a real SQLite file, with a clock, terminals and nodes that a test plays itself."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyotp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection, Dialect, Engine, select
from sqlalchemy.event import listens_for
from starlette.types import ASGIApp

from control_plane.access.port import LinkLostError, RefusedError, Target, TerminalSession
from control_plane.access.service import not_ready
from control_plane.app import create_agent_app, create_app
from control_plane.assignments.model import Assignment
from control_plane.brokers.service import add_server
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.fleet.service import NodePlace
from control_plane.identity.state import Role
from control_plane.notifications.model import Mail
from control_plane.trading.model import Deal
from mt5_bridge.contract import STRUCTS
from mt5_bridge.history_digest import Digests, deal_msc, deal_text, digests, order_msc, order_text
from mt5_bridge.structs import (
    RATES_DTYPE,
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
    TradeRequest,
)
from node_agent.protocol.encoding import to_text
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import (
    ENROLL_PATH,
    EVENTS_PATH,
    PROTOCOL_VERSION,
    SYNC_PATH,
    AccountSnapshot,
    BotPhase,
    DealBody,
    DesiredSnapshot,
    DesiredTerminal,
    EnrollRequest,
    EnrollResponse,
    Event,
    EventAck,
    EventBatch,
    HistoryOrderBody,
    NodeReport,
    ObservedBot,
    ObservedTerminal,
    OpenPosition,
    Phase,
    PositionsBody,
    SyncRequest,
    SyncResponse,
)
from node_agent.protocol.tickets import Scope

PASSWORD = "correct horse battery"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SERVER = "MT5Farm-Demo"
ORIGIN = "http://testserver"
_COMPILED: dict[tuple[Any, ...], tuple[Dialect, Any]] = {}
PLENTY = "1000000/1"
"""A rate that no test comes near."""


@listens_for(Engine, "engine_connect")
def _compile_once(connection: Connection) -> None:
    """Let all farms of this process share their compiled statements; each would else compile the same ones anew.

    Both attributes are the library's own: they are looked up by the dialect, which each engine has of its own.
    """
    engine: Any = connection.engine
    alike = (type(engine.dialect), getattr(engine.dialect, "executemany_mode", None))
    engine.dialect, engine._compiled_cache = _COMPILED.setdefault(alike, (engine.dialect, engine._compiled_cache))
    connection.dialect = engine.dialect


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **delta: float) -> None:
        self._now += timedelta(**delta)


def filled(struct: Any, **values: Any) -> Any:
    """A struct of the API with the given fields, and zeros or empty text elsewhere."""
    texts = {"name", "description", "symbol", "comment", "external_id"}
    return struct([values.get(name, "" if name in texts else 0) for name in struct.field_names])


@dataclass
class FakeTerminal:
    """A terminal with one symbol. `script` decides what happens to each order; by default it is filled."""

    script: list[str] = field(default_factory=list)
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    journal: dict[str, dict[str, Any]] = field(default_factory=dict)
    positions: dict[int, Any] = field(default_factory=dict)
    pending: dict[int, Any] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    before_send: Callable[[], None] = lambda: None
    deals: list[Any] = field(default_factory=list)
    """The broker's book: `TradeDeal`s and, of the history, `TradeOrder`s."""
    orders: list[Any] = field(default_factory=list)
    balance: float | None = None
    """None for the sum of the deals."""
    read_rows: int = 0
    """How many rows of the book were asked for."""
    old: bool = False
    """Its worker does not know digests yet."""

    def account_info(self) -> Any:
        booked = {each.ticket: each for each in self.deals}.values()
        total = round(math.fsum(each.profit + each.commission + each.swap + each.fee for each in booked), 2)
        balance = total if self.balance is None else self.balance
        return filled(AccountInfo, balance=balance, margin_mode=2, margin_free=10_000.0, currency="USD")

    def history_deals_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None:
        return self._read(each for each in self.deals if date_from <= each.time <= date_to)

    def history_orders_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None:
        return self._read(each for each in self.orders if date_from <= each.time_done <= date_to)

    def history_digests(self, subject: str, date_from: int, date_to: int) -> Digests | None:
        if self.old:
            raise RefusedError("not_allowed", "farm.history_digests cannot be called through the bridge")
        if subject == "deals":
            return digests((each for each in self.deals if date_from <= each.time <= date_to), deal_text, deal_msc)
        return digests((each for each in self.orders if date_from <= each.time_done <= date_to), order_text, order_msc)

    def _read(self, rows: Iterable[Any]) -> tuple[Any, ...]:
        found = tuple(rows)
        self.read_rows += len(found)
        return found

    def symbols_get(self) -> tuple[Any, ...] | None:
        return (self.symbol_info("EURUSD"),)

    def symbol_info(self, symbol: str) -> Any:
        if symbol != "EURUSD":
            return None
        return filled(
            SymbolInfo,
            name=symbol,
            description="Euro vs US Dollar",
            digits=5,
            point=1e-5,
            volume_min=0.01,
            volume_max=500.0,
            volume_step=0.01,
            filling_mode=3,
            order_mode=127,
            expiration_mode=15,
            trade_mode=4,
            trade_exemode=2,
            trade_stops_level=10,
            visible=True,
            bid=1.1,
            ask=1.1001,
            time=1_700_000_000,
        )

    def symbol_info_tick(self, symbol: str) -> Any:
        return filled(Tick, bid=1.1, ask=1.1001, time=1_700_000_000) if symbol == "EURUSD" else None

    def symbol_select(self, symbol: str, enable: bool) -> Any:
        return symbol == "EURUSD" and enable

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        bars = [(1_700_000_000 + 60 * index, 1.1, 1.2, 1.0, 1.15, 7, 1, 0) for index in range(count)]
        return np.array(bars, dtype=RATES_DTYPE)

    def positions_get(self) -> tuple[Any, ...] | None:
        return tuple(self.positions.values())

    def position(self, ticket: int) -> Any:
        return self.positions.get(ticket)

    def open_position(self, ticket: int, volume: float = 0.1, side: int = 0, profit: float = -0.8) -> None:
        self.positions[ticket] = filled(
            TradePosition,
            ticket=ticket,
            symbol="EURUSD",
            type=side,
            volume=volume,
            price_open=1.1,
            profit=profit,
            magic=5,
        )

    def orders_get(self) -> tuple[Any, ...] | None:
        return tuple(self.pending.values())

    def pending_order(self, ticket: int) -> Any:
        return self.pending.get(ticket)

    def order_check(self, request: Mapping[str, Any]) -> Any:
        return filled(OrderCheckResult, request=filled(TradeRequest))

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> float | None:
        return round(volume * 1000.0 * price, 2)

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float
    ) -> float | None:
        return round((price_close - price_open) * (-1 if action else 1) * volume * 100_000, 2)

    def place_pending(self, ticket: int, kind: int = 2, price: float = 1.09, volume: float = 0.1) -> None:
        self.pending[ticket] = filled(
            TradeOrder,
            ticket=ticket,
            symbol="EURUSD",
            type=kind,
            volume_initial=volume,
            volume_current=volume,
            price_open=price,
            magic=5,
        )

    def send_once(self, client_order_id: str, request: Mapping[str, Any]) -> Any:
        self.before_send()
        self.sent.append((client_order_id, dict(request)))
        what = self.script.pop(0) if self.script else "fill"
        match what:
            case "fill":
                self._record(client_order_id, "done", 10009, order=900, deal=700, price=1.1001)
                return self._result(10009, order=900, deal=700)
            case "reject":
                self._record(client_order_id, "refused", 10019)
                return self._result(10019)
            case "unclear":
                self._record(client_order_id, "unknown", 10031)
                return self._result(10031)
            case "fill_then_lose_answer":
                self._record(client_order_id, "done", 10009, order=900, deal=700, price=1.1001)
                raise LinkLostError("cut")
            case "lose_before_arrival":
                raise LinkLostError("cut")
            case "no_answer_yet":
                self._record(client_order_id, "unknown", 0)
                raise RefusedError("outcome_unknown", "not known yet")
            case code:
                raise RefusedError(code, "the bridge says no")

    def outcome(self, client_order_id: str) -> Mapping[str, Any] | None:
        return self.journal.get(client_order_id)

    def give_up(self, client_order_id: str) -> Mapping[str, Any]:
        if client_order_id not in self.journal:
            self._record(client_order_id, "not_executed", 0)
            self.given_up.append(client_order_id)
        return self.journal[client_order_id]

    def settle(self, client_order_id: str, state: str, retcode: int = 0) -> None:
        """The bridge finds out what became of an order."""
        self._record(client_order_id, state, retcode)

    def _record(self, key: str, state: str, retcode: int, order: int = 0, deal: int = 0, price: float = 0.0) -> None:
        self.journal[key] = {"state": state, "retcode": retcode, "order": order, "deal": deal, "price": price}

    def _result(self, retcode: int, order: int = 0, deal: int = 0) -> Any:
        request = filled(TradeRequest)
        return filled(OrderSendResult, retcode=retcode, order=order, deal=deal, price=1.1001, request=request)


@dataclass
class FakeDoor:
    """Opens sessions with `FakeTerminal`s and remembers for whom."""

    terminals: dict[str, FakeTerminal] = field(default_factory=dict)
    opened: list[tuple[Target, Scope, str]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    """Ids of terminals that cannot be reached."""

    @contextmanager
    def session(self, target: Target, scope: Scope, principal: str) -> Iterator[TerminalSession]:
        self.opened.append((target, scope, principal))
        if target.terminal_id in self.dead:
            raise not_ready("The terminal cannot be reached right now.")
        yield self.terminals.setdefault(target.terminal_id, FakeTerminal())

    def close_idle(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


class InProcess(httpx.BaseTransport):
    """Sends requests straight into an application, each in an event loop of its own."""

    def __init__(self, app: ASGIApp, address: str = "127.0.0.1") -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))

    def client(self) -> httpx.Client:
        return httpx.Client(transport=self, base_url=ORIGIN)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._send(request))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content, request=request)


def browser(farm: Farm, **headers: str) -> httpx.Client:
    """A browser on the farm's own pages; an `Origin` of "" leaves that header out."""
    sent = {name: value for name, value in {"Origin": ORIGIN, **headers}.items() if value}
    return httpx.Client(transport=InProcess(create_app(farm)), base_url=ORIGIN, headers=sent)


def ready_browser(farm: Farm, **headers: str) -> httpx.Client:
    """One for several threads: the framework builds routes when they are first looked through, in one thread only."""
    http = browser(farm, **headers)
    assert http.get("/api/v1/no-such-route").status_code == 404
    return http


def mail_to(farm: Farm, email: str) -> str:
    """The text of the newest mail to somebody, once everything that waits to be sent is sent."""
    with farm.database.read_as_system() as session:
        waiting = session.scalars(select(Mail.id).where(Mail.sent_at.is_(None), Mail.recipient == email)).all()
    for mail_id in waiting:
        farm.mails.deliver(mail_id)
    assert farm.recorded_post is not None
    return next(each.text for each in farm.recorded_post.newest(100) if each.recipient == email)


def link_in(text: str) -> str:
    """The secret behind the # of a mail's link."""
    found = re.search(r"#(\S+)", text)
    assert found is not None, text
    return found[1]


class Trader:
    """A signed-in user in a browser of their own."""

    def __init__(self, farm: Farm, email: str) -> None:
        self.farm = farm
        self.email = email
        self.http = browser(farm)
        self.totp: pyotp.TOTP | None = None
        body = {"email": email, "password": PASSWORD, "display_name": email.partition("@")[0]}
        self.call("POST", "/auth/sign-up", 202, body)
        token = link_in(mail_to(farm, email))
        self.user: dict[str, Any] = self.call("POST", "/auth/verify-email", 201, {"token": token, "password": PASSWORD})

    def enrol_second_factor(self) -> list[str]:
        """An authenticator app; returns the recovery codes."""
        self.totp = pyotp.TOTP(self.call("POST", "/auth/second-factor/totp", 201)["secret"])
        codes: list[str] = self.call("POST", "/auth/second-factor/totp/confirm", 200, {"code": self.code()})["codes"]
        return codes

    def code(self) -> str:
        """What the authenticator app shows now."""
        assert self.totp is not None
        return self.totp.at(self.farm.clock.now())

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    def call(
        self, method: str, path: str, status: int = 200, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Any:
        """Make a request that must answer with `status`; its body."""
        response = self.request(method, path, body, key)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def connect(self, login: int = 5001, **changes: Any) -> dict[str, Any]:
        body = {"label": "Main", "login": login, "password": "broker-secret", "server": SERVER, **changes}
        account: dict[str, Any] = self.call("POST", "/accounts", 201, body)
        return account


class NodePlayer:
    """A node agent played by a test: it signs, syncs and delivers over the real HTTP application."""

    def __init__(
        self,
        farm: Farm,
        slots: int = 4,
        name: str = "node-1",
        runtimes: tuple[str, ...] = ("simulated",),
        place: Mapping[str, Any] | None = None,
    ) -> None:
        self.farm = farm
        self.http = httpx.Client(transport=InProcess(create_agent_app(farm)), base_url="https://testserver")
        self.identity = Ed25519PrivateKey.generate()
        self.sealing = X25519PrivateKey.generate()
        with farm.database.write_as_system() as session:
            self.token = farm.fleet.issue_token(
                session, farm.identity.bootstrap(session).id, name, NodePlace(**(place or {}))
            )
        self.enrolment = self.enroll_request(slots=slots, runtimes=list(runtimes))
        response = self.http.post(ENROLL_PATH, content=self.enrolment.model_dump_json(), headers=JSON)
        assert response.status_code == 201, response.text
        self.welcome = EnrollResponse.model_validate_json(response.content)
        self.node_id = self.welcome.node_id
        self.boot_id, self.sequence, self.generation = "boot-1", 0, 0
        self.protocol, self.continuity = PROTOCOL_VERSION, ""
        self.clock_ahead = 0.0
        """Seconds; requests are signed on real time, which tests do not wait for."""
        self.report = report()
        self.gateway_csr = ""
        self.desired: list[DesiredTerminal] = []

    def enroll_request(self, **changes: Any) -> EnrollRequest:
        fields: dict[str, Any] = {
            "token": self.token,
            "name": "anything",
            "identity_key": to_text(self.identity.public_key().public_bytes_raw()),
            "sealing_key": to_text(self.sealing.public_key().public_bytes_raw()),
            "gateway_csr": certificate_request(),
            "gateway_address": "127.0.0.1:4443",
            "runtimes": ["simulated"],
            "slots": 4,
            "platform": "linux",
        }
        return EnrollRequest(**{**fields, **changes})

    def sign(self, method: str, path: str, body: bytes) -> str:
        return sign_request(
            self.identity, self.node_id, method, path, body, datetime.now(UTC).timestamp() + self.clock_ahead
        )

    def post(self, path: str, body: bytes, signature: str | None = None) -> httpx.Response:
        headers = {**JSON, "Authorization": signature or self.sign("POST", path, body)}
        return self.http.post(path, content=body, headers=headers)

    def sync_body(self, terminals: list[ObservedTerminal]) -> bytes:
        self.sequence += 1
        request = SyncRequest(
            boot_id=self.boot_id,
            sequence=self.sequence,
            known_generation=self.generation,
            report=self.report,
            terminals=terminals,
            protocol=self.protocol,
            continuity=self.continuity,
            gateway_csr=self.gateway_csr,
        )
        return request.model_dump_json().encode()

    def sync(self, *terminals: ObservedTerminal) -> SyncResponse:
        response = self.post(SYNC_PATH, self.sync_body(list(terminals)))
        assert response.status_code == 200, response.text
        answer = SyncResponse.model_validate_json(response.content)
        self.generation, self.continuity = answer.generation, answer.continuity
        if answer.desired is not None:
            self.desired = answer.desired.terminals
        return answer

    def fetch(self) -> DesiredSnapshot:
        """The whole desired snapshot, as after a restart."""
        self.generation = 0
        answer = self.sync()
        assert answer.desired is not None
        return answer.desired

    def make_ready(self, desired: DesiredTerminal, **changes: Any) -> SyncResponse:
        return self.sync(observed(desired, **changes))

    def obey(self, **changes: Any) -> SyncResponse:
        """Report that everything is as it was told: what should run is ready, the rest is stopped."""
        return self.sync(
            *(
                observed(each, **{"flat": True, **changes}) if each.running else observed(each, phase=Phase.STOPPED)
                for each in self.desired
            )
        )

    def deliver(self, *events: Event) -> EventAck:
        response = self.post(EVENTS_PATH, EventBatch(events=list(events)).model_dump_json().encode())
        assert response.status_code == 200, response.text
        return EventAck.model_validate_json(response.content)


JSON = {"Content-Type": "application/json"}


def certificate_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def report(**changes: Any) -> NodeReport:
    fields: dict[str, Any] = {
        "agent_version": "0.1.0",
        "clock": START,
        "cpu_count": 2,
        "load_1m": 0.1,
        "memory_total": 64 << 30,
        "memory_available": 64 << 30,
        "disk_free": 1,
        "gateway_address": "127.0.0.1:4443",
        "gateway_up": True,
        "spooled_events": 0,
    }
    return NodeReport(**{**fields, **changes})


def snapshot(login: int = 5001, equity: float = 10_000.0, taken_at: datetime = START) -> AccountSnapshot:
    return AccountSnapshot(
        login=login,
        server=SERVER,
        currency="USD",
        balance=10_000.0,
        credit=0.0,
        profit=equity - 10_000.0,
        equity=equity,
        margin=0.0,
        margin_free=equity,
        positions=0,
        broker_time=1_700_000_000,
        taken_at=taken_at,
    )


def observed(desired: DesiredTerminal, **changes: Any) -> ObservedTerminal:
    fields: dict[str, Any] = {
        "terminal_id": desired.terminal_id,
        "epoch": desired.epoch,
        "phase": Phase.READY,
        "since": START,
        "last_answer_at": START,
    }
    return ObservedTerminal(**{**fields, **changes})


def observed_bot(bot_id: str, revision: int, phase: BotPhase = BotPhase.RUNNING) -> ObservedBot:
    return ObservedBot(bot_id=bot_id, revision=revision, phase=phase, since=START)


def event(desired: DesiredTerminal, event_id: str, body: Any, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": event_id,
        "terminal_id": desired.terminal_id,
        "account_id": desired.account_id,
        "epoch": desired.epoch,
        "occurred_at": START,
        "body": body,
    }
    return Event(**{**fields, **changes})


def deal_body(ticket: int, **changes: Any) -> DealBody:
    fields: dict[str, Any] = {
        "ticket": ticket,
        "order": ticket + 1000,
        "time": 1_700_000_000,
        "time_msc": 1_700_000_000_000 + ticket,
        "type": 0,
        "entry": 0,
        "magic": 0,
        "position_id": 1,
        "reason": 3,
        "volume": 0.1,
        "price": 1.1,
        "commission": -0.07,
        "swap": 0.0,
        "profit": 0.0,
        "fee": 0.0,
        "symbol": "EURUSD",
        "comment": "",
        "external_id": "",
    }
    return DealBody(**{**fields, **changes})


def history_order_body(ticket: int, **changes: Any) -> HistoryOrderBody:
    numbers = {name: 0 for name, kind in STRUCTS["TradeOrder"] if kind is not str}
    texts = {"symbol": "EURUSD", "comment": "", "external_id": ""}
    done = 1_700_000_000_000 + ticket
    return HistoryOrderBody(**{**numbers, **texts, "ticket": ticket, "time_done_msc": done, **changes})


def positions_body(*tickets: int) -> PositionsBody:
    numbers = {name: 0 for name, kind in STRUCTS["TradePosition"] if kind is not str}
    return PositionsBody(
        positions=[OpenPosition(**{**numbers, "ticket": each, "symbol": "EURUSD", "comment": ""}) for each in tickets]
    )


def as_struct(body: Any) -> Any:
    """The broker's row that an event was made of."""
    struct = TradeDeal if isinstance(body, DealBody) else TradeOrder
    values = {"time_done": getattr(body, "time_done_msc", 0) // 1000, "time_setup": 0} | body.model_dump()
    return filled(struct, **values)


def compare_books(world: World, wanted: DesiredTerminal) -> None:
    """The broker has one deal more than the log, and two looks have found it."""
    terminal = world.terminal(wanted)
    with world.farm.database.read_as_system() as session:
        known = session.scalars(select(Deal).where(Deal.account_id == wanted.account_id)).all()
    terminal.deals = [as_struct(deal_body(each.ticket, swap=-1.0)) for each in known]
    terminal.deals.append(as_struct(deal_body(999_000)))
    terminal.orders = [as_struct(history_order_body(each.ticket)) for each in known]
    for _ in range(2):
        world.run_loops()
        world.clock.advance(seconds=31)


@dataclass
class World:
    """Everything of one test."""

    data: Path
    clock: ManualClock
    door: FakeDoor
    farm: Farm
    carry_out_jobs: Callable[[], None] = lambda: None
    """Returns when what the jobs' loop has handed out is done, where it is not done by the loop itself."""

    def trader(self, email: str = "trader@example.com") -> Trader:
        return Trader(self.farm, email)

    def node(self, **changes: Any) -> NodePlayer:
        return NodePlayer(self.farm, **changes)

    def run_loops(self) -> None:
        """One round of every background loop, in this thread."""
        for loop in self.farm.loops:
            loop.step()
            if loop.name == "jobs":
                self.carry_out_jobs()

    def let_pass(self, seconds: float, *alive: NodePlayer) -> None:
        """Time passes while the loops run, as it does in life; a single long step would be a pause of the farm.

        The nodes `alive` keep reporting that everything is as it was told.
        """
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            self.clock.advance(seconds=min(30.0, (end - self.clock.now()).total_seconds()))
            for node in alive:
                node.obey()
            self.run_loops()

    def ready_account(self, trader: Trader, node: NodePlayer, login: int = 5001) -> tuple[str, DesiredTerminal]:
        """A connected account whose terminal its node has reported as ready."""
        account = trader.connect(login)
        self.run_loops()
        wanted = next(each for each in node.fetch().terminals if each.account_id == account["id"])
        node.make_ready(wanted, account=snapshot(login))
        return account["id"], wanted

    def operator(self, role: Role = Role.OPS, email: str = "ops@example.com") -> Trader:
        """Somebody of the operator's team."""
        person = self.trader(email)
        person.enrol_second_factor()
        self.give_role(person, role)
        return person

    def give_role(self, person: Trader, role: Role) -> None:
        """As somebody on the machine of the control plane would."""
        with self.farm.database.write_as_system() as session:
            self.farm.identity.set_role(session, person.email, role)

    def assignments(self, terminal_id: str) -> list[Assignment]:
        """All that a terminal ever had, the oldest first."""
        with self.farm.database.read_as_system() as session:
            query = select(Assignment).where(Assignment.terminal_id == terminal_id).order_by(Assignment.epoch)
            return list(session.scalars(query))

    def terminal(self, wanted: DesiredTerminal) -> FakeTerminal:
        return self.door.terminals.setdefault(wanted.terminal_id, FakeTerminal())


def build_world(data: Path, clock: Any = None, **settings: Any) -> World:
    clock, door = clock or ManualClock(), FakeDoor()
    # Time stands still here, so that no budget would ever fill up again.
    settings = (
        dict.fromkeys((name for name in Settings.model_fields if name.startswith("requests_")), PLENTY) | settings
    )
    farm = build_farm(Settings(data=data, **settings), clock=clock, door=door)
    with farm.database.write_as_system() as session:
        add_server(session, clock, SERVER, "MT5 Farm", "127.0.0.1:8083")
    return World(data, clock, door, farm)
