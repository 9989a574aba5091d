"""Orders over REST, each carried out once: `python -m tests.orders.once --orders 200000`.

Clients send orders of all kinds to a control plane that reaches its node through a faulty link: answers are lost after
the fill, frames cut in the middle, requests repeated with the same Idempotency-Key, and the control plane and the
bridge workers killed in between. In the end the broker's book is compared with the table of orders. SIGTERM and Ctrl-C
end the sending, and the comparison is made of what there is.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.chaos.farm import wait_for
from tests.orders.faults import Fault, FaultPlan
from tests.orders.rest_farm import RestFarm

SHARES: Final = {Fault.TLS_REQUEST_CUT: 0.004, Fault.TLS_ANSWER_CUT: 0.004, Fault.CLIENT_ANSWER_LOST: 0.004}
REPEATED: Final = 0.03
"""Share of answered requests that are sent once more with their key."""
KILLED_EVERY: Final = 1_000
"""Orders between two killings, of the control plane and of a worker in turns."""
SETTLED: Final = frozenset({"done", "refused", "not_executed"})
SETTLED_SECONDS: Final = 240.0
PROGRESS_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.05
WATCH_SECONDS: Final = 0.1
ASKED_AGAIN_SECONDS: Final = 1.0
"""For an order that is not settled: what Retry-After says."""
CANCELED: Final = 2
CHAINS: Final = (("market", "stops", "close"), ("pending", "change", "cancel"), ("market", "close_all"))


@dataclass(frozen=True)
class Wish:
    """One request of a client: its key and where it goes."""

    key: str
    path: str
    body: dict[str, Any]


@dataclass
class Tally:
    """What the clients have seen, shared by all of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    repeated: int = 0
    unanswered: int = 0
    unknown: int = 0
    """Orders whose first answer did not say what became of them."""
    complaints: list[str] = field(default_factory=list)
    answered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By key: the ids of the orders that a request was answered with."""


@dataclass
class Verdict:
    """The broker's book beside the table of orders."""

    rows: int = 0
    states: Counter[str] = field(default_factory=Counter)
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.doubled or self.lost or self.unsettled)


class Client(threading.Thread):
    """Sends chains of orders for one account, one after another, until the numbers run out."""

    def __init__(
        self, farm: RestFarm, account_id: str, name: str, numbers: Iterator[int], tally: Tally, seed: int
    ) -> None:
        super().__init__(daemon=True)
        self._account = f"/accounts/{account_id}"
        self._name = name
        self._numbers = numbers
        self._tally = tally
        self._chance = random.Random(seed)
        self._http = httpx.Client(base_url=f"{farm.url}/api/v1", headers={"Origin": farm.url}, timeout=15.0)
        self._http.cookies.update(farm.client._http.cookies)
        self._count = itertools.count()
        self.stopped = threading.Event()

    def run(self) -> None:
        with self._http:
            for chain in itertools.cycle(CHAINS):
                first: dict[str, Any] | None = None
                for step in chain:
                    with self._tally.lock:
                        number = next(self._numbers, None)
                    if number is None or self.stopped.is_set():
                        return
                    answer = self._carry_out(step, first)
                    if answer is None:
                        break
                    first = first or answer

    def _carry_out(self, step: str, first: dict[str, Any] | None) -> dict[str, Any] | None:
        """The settled order; None when it came to nothing (what was refused may be refused again: the chain ends).

        `first` is the order that the chain began with.
        """
        wish = self._wish(step, first)
        with self._tally.lock:
            self._tally.sent += 1
        answer = self._answer(wish)
        if answer is None:
            return None
        if self._chance.random() < REPEATED:
            with self._tally.lock:
                self._tally.repeated += 1
            self._answer(wish)
        settled = [self._settled(order) for order in answer]
        done = [order for order in settled if order is not None and order["state"] == "done"]
        return done[0] if done else None

    def _wish(self, step: str, first: dict[str, Any] | None) -> Wish:
        name = f"{self._name}-{next(self._count)}"
        ticket, bought = (0, False) if first is None else (first["order_ticket"], first["side"] == "buy")
        base = {"symbol": "EURUSD", "volume": 0.01, "client_order_id": name, "comment": name}
        wishes: dict[str, tuple[str, dict[str, Any]]] = {
            "market": ("/orders", {**base, "side": self._chance.choice(("buy", "sell"))}),
            "pending": ("/orders", {**base, "side": "buy", "type": "limit", "price": 0.5}),
            "stops": (f"/positions/{ticket}/modify", {"client_order_id": name}),
            "close": (f"/positions/{ticket}/close", {"client_order_id": name}),
            "change": (f"/pending-orders/{ticket}/modify", {"price": 0.4, "client_order_id": name}),
            "cancel": (f"/pending-orders/{ticket}/cancel", {"client_order_id": name}),
            "close_all": ("/positions/close-all", {}),
        }
        path, body = wishes[step]
        if step == "stops":  # far below the market
            body["stop_loss" if bought else "take_profit"] = 0.5
        return Wish(name, f"{self._account}{path}", body)

    def _answer(self, wish: Wish) -> list[dict[str, Any]] | None:
        """The orders that a wish made, asked for with one key until there is an answer; None when it is refused."""
        while True:
            answer = self._ask("POST", wish.path, wish.body, wish.key)
            if answer is None or answer.status_code >= 500 or answer.status_code in {409, 429}:
                code = "" if answer is None else answer.json().get("code", "")
                if code in {"idempotency_key_reused", "client_order_id_used"}:
                    self._complain(f"{wish.key}: {code}")
                    return None
                if self.stopped.is_set():
                    return None
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code not in {201, 202}:
                return None
            orders = answer.json().get("items", [answer.json()])
            ids = tuple(sorted(str(order["id"]) for order in orders))
            with self._tally.lock:
                before = self._tally.answered.setdefault(wish.key, ids)
            if before != ids:
                self._complain(f"{wish.key} was answered with {before} and with {ids}")
            return list(orders)

    def _settled(self, order: dict[str, Any]) -> dict[str, Any] | None:
        if order["state"] not in SETTLED:
            with self._tally.lock:
                self._tally.unknown += 1
        while order["state"] not in SETTLED:
            if self.stopped.is_set():
                return None
            time.sleep(ASKED_AGAIN_SECONDS)
            answer = self._ask("GET", f"{self._account}/orders/{order['id']}")
            if answer is not None and answer.status_code == httpx.codes.OK:
                order = answer.json()
        return order

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, key: str = "") -> httpx.Response | None:
        try:
            return self._http.request(method, path, json=body, headers={"Idempotency-Key": key} if key else {})
        except httpx.TransportError:
            with self._tally.lock:
                self._tally.unanswered += 1
            time.sleep(PAUSE_SECONDS)
            return None

    def _complain(self, text: str) -> None:
        with self._tally.lock:
            self._tally.complaints.append(text)


@dataclass
class Report:
    verdict: Verdict
    tally: Tally
    happened: Counter[Fault]
    kills: int
    seconds: float

    @property
    def sound(self) -> bool:
        return self.verdict.sound and not self.tally.complaints


def run(
    folder: Path, orders: int, *, seed: int, accounts: int, clients: int, kill_every: int, stopped: threading.Event
) -> Report:
    """Send that many orders, or fewer when `stopped` is set meanwhile, and compare."""
    plan, tally = FaultPlan(seed, SHARES), Tally()
    farm = RestFarm(folder, plan, accounts)
    try:
        began, numbers = time.monotonic(), iter(range(orders))
        chooser = random.Random(seed)
        senders = [
            Client(farm, account_id, f"a{place}c{number}", numbers, tally, chooser.randrange(2**32))
            for place, account_id in enumerate(farm.logins.values())
            for number in range(clients)
        ]
        plan.on = True
        for each in senders:
            each.start()
        kills = _watch(farm, senders, tally, orders, kill_every, stopped)
        plan.on = False
        seconds = time.monotonic() - began
        with contextlib.suppress(TimeoutError):  # the verdict names those that are not
            wait_for(lambda: farm.open_orders() == 0, SETTLED_SECONDS, "settled orders")
        return Report(judge(farm, tally), tally, plan.happened, kills, seconds)
    finally:
        farm.close()


def _watch(
    farm: RestFarm, senders: list[Client], tally: Tally, orders: int, kill_every: int, stopped: threading.Event
) -> int:
    """Kill by the number of orders sent, tell how far it is, and return the number of killings."""
    kills, told, told_of = 0, time.monotonic(), 0
    while any(each.is_alive() for each in senders):
        time.sleep(WATCH_SECONDS)
        if stopped.is_set():
            for each in senders:
                each.stopped.set()
        if not stopped.is_set() and tally.sent >= (kills + 1) * kill_every:
            farm.kill_worker(kills) if kills % 2 else farm.kill_control_plane()
            kills += 1
        if time.monotonic() - told >= PROGRESS_SECONDS:
            rate = (tally.sent - told_of) / (time.monotonic() - told)
            told, told_of = time.monotonic(), tally.sent
            so_far = f"{told_of} of {orders} orders, {rate:.1f} a second now"
            print(f"{so_far}, {tally.unknown} unknown at first, {kills} killed", flush=True)
    return kills


def judge(farm: RestFarm, tally: Tally) -> Verdict:
    """Every order of the book belongs to one row that is done, and every row that is done has its order."""
    rows = farm.order_rows()
    verdict = Verdict(len(rows), Counter(row["state"] for row in rows))
    verdict.unsettled = [f"{row['id']} is {row['state']}" for row in rows if row["state"] not in SETTLED]
    ids = {row["id"] for row in rows}
    for key, answered in tally.answered.items():
        verdict.lost += [f"{key} was answered with {each}, which is not there" for each in answered if each not in ids]
    names = Counter(row["caller_order_id"] for row in rows if row["caller_order_id"])
    verdict.doubled += [f"{name} is {count} rows" for name, count in names.items() if count > 1]
    for login, account_id in farm.logins.items():
        _judge_account([row for row in rows if row["account_id"] == account_id], farm.admin().orders(login), verdict)
    return verdict


def _judge_account(rows: list[dict[str, Any]], book: tuple[Any, ...], verdict: Verdict) -> None:
    orders = {order.ticket: order for order in book}
    done = [row for row in rows if row["state"] == "done"]
    claimed = Counter(row["order_ticket"] for row in done if row["kind"] in {"open", "pending", "close"})
    verdict.doubled += [f"order {ticket} of the broker belongs to no row" for ticket in orders if not claimed[ticket]]
    verdict.doubled += [f"order {ticket} belongs to {count} rows" for ticket, count in claimed.items() if count > 1]
    verdict.lost += [f"order {ticket} is done, the broker has none" for ticket in claimed if ticket not in orders]
    marks = Counter(order.comment for order in book if order.comment)
    verdict.doubled += [f"{mark} is {count} times in the book" for mark, count in marks.items() if count > 1]
    changed = {row["pending_ticket"]: row["wished_price"] for row in done if row["kind"] == "modify"}
    for row in done:
        order = orders.get(row["pending_ticket"])
        if row["kind"] == "cancel" and (order is None or order.state != CANCELED):
            verdict.lost.append(f"{row['id']} is done, the broker has not cancelled {row['pending_ticket']}")
        if row["kind"] == "modify" and order is not None and order.price_open != changed[order.ticket]:
            verdict.lost.append(f"{row['id']} is done, {order.ticket} is still at {order.price_open}")
    cancelled = {row["pending_ticket"] for row in done if row["kind"] == "cancel"}
    verdict.doubled += [
        f"{order.ticket} is cancelled, and no row says so"
        for order in book
        if order.state == CANCELED and order.ticket not in cancelled
    ]


def describe(report: Report) -> str:
    verdict, tally = report.verdict, report.tally
    settled = verdict.rows - len(verdict.unsettled)
    return "\n".join(
        [
            f"{tally.sent} requests made {verdict.rows} orders in {report.seconds:.0f} s, "
            f"{tally.sent / report.seconds:.1f} a second",
            f"repeated with the same key on purpose {tally.repeated}, without an answer {tally.unanswered}, killed "
            f"{report.kills}; " + ", ".join(f"{fault}: {n}" for fault, n in sorted(report.happened.items())),
            "orders: " + ", ".join(f"{count} {state}" for state, count in sorted(verdict.states.items())),
            f"unknown at first {tally.unknown}; settled {settled} of {verdict.rows}",
            f"doubled {len(verdict.doubled)}, lost {len(verdict.lost)}, not settled {len(verdict.unsettled)}, "
            f"otherwise wrong {len(tally.complaints)}",
            *(verdict.doubled + verdict.lost + verdict.unsettled + tally.complaints)[:20],
        ]
    )


def main() -> int:
    """Entry point: exit code 1 when an order is lost, doubled or not settled."""
    parser = argparse.ArgumentParser(prog="tests.orders.once", description=__doc__)
    parser.add_argument("--orders", type=int, default=200_000)
    parser.add_argument("--accounts", type=int, default=8)
    parser.add_argument("--clients", type=int, default=4, help="for each account, at the same time")
    parser.add_argument("--kill-every", type=int, default=KILLED_EVERY, help="orders between two killings")
    parser.add_argument("--data", type=Path, default=Path("/tmp"), help="where databases and journals are written")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory(prefix="m5", dir=options.data) as folder:
        report = run(
            Path(folder),
            options.orders,
            seed=options.seed,
            accounts=options.accounts,
            clients=options.clients,
            kill_every=options.kill_every,
            stopped=stopped,
        )
    print(describe(report))
    return 0 if report.sound else 1


if __name__ == "__main__":
    # What is kept here ends with this process, whichever way it ends.
    sys.exit(main())
