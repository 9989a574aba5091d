"""The order test: many orders through a faulty link, then journal and broker's book are compared.

`python -m tests.orders.run --orders 50000` runs it long; the test suite runs a small one. The broker, the terminals,
the workers and the clients of each account are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt5_bridge.client import BridgeError, BridgeLost
from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.simulated.link import LinkError
from tests.orders.account import PASSWORD, AccountLine
from tests.orders.faults import SHARES, SURE, Fault, FaultPlan
from tests.orders.verdict import Verdict, judge
from tests.orders.workload import Trader, chains

TRADERS = 2
READY_SECONDS = 60.0
SETTLED_SECONDS = 180.0
PAGE = 1000


@dataclass(frozen=True)
class Share:
    """The part of one account in a run."""

    folder: Path
    login: int
    broker: str
    admin_token: str
    orders: int
    seed: int
    scale: float
    netting: bool


@dataclass
class Report:
    """What a run has shown."""

    verdict: Verdict
    happened: Counter[Fault]
    broker_kills: int = 0
    seconds: float = 0.0

    def missing(self, scale: float) -> list[Fault]:
        """Faults that must have happened in a run of this length, and have not."""
        return [
            fault
            for fault, share in SHARES.items()
            if share * scale * self.verdict.wishes >= SURE and not self.happened[fault]
        ]


class Broker:
    """The simulated broker as a process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.address = "127.0.0.1:0"
        self.start()
        self.admin_token = (folder / "admin.token").read_text().strip()

    def start(self) -> None:
        """Start it, on the address that it had."""
        options = ["--data", str(self._folder), "--listen", self.address, "--speed", "10", "--symbols", "EURUSD"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mt5_bridge.simulated.server", *options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        with self._process.stdout as output:
            self.address = json.loads(output.readline())["address"]

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)


def until(condition: Any, seconds: float) -> bool:
    """Poll a condition; False when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def run_account(share: Share) -> Report:
    """One account's orders, and the comparison with the broker's book."""
    plan = FaultPlan(share.seed, {fault: part * share.scale for fault, part in SHARES.items()})
    share.folder.mkdir()
    line = AccountLine(share.folder, share.login, share.broker, plan)
    try:
        assert until(line.connected, READY_SECONDS), "the account's terminal was not connected in time"
        plan.on = True
        source, lock = chains(share.orders, netting=share.netting), threading.Lock()
        traders = [Trader(line, source, lock) for _ in range(TRADERS)]
        for trader in traders:
            trader.start()
        for trader in traders:
            trader.join()
        plan.on = False
        until(lambda: _is_settled(line), SETTLED_SECONDS)
        admin = BrokerAdmin(share.broker, share.admin_token, timeout=60.0)
        until(lambda: _answers(admin), READY_SECONDS)
        finished = [chain for trader in traders for chain in (*trader.finished, *trader.given_up)]
        orders, deals = admin.orders(share.login), admin.deals(share.login)
        return Report(judge(finished, _journal(line), orders, deals), plan.happened)
    finally:
        line.close()


def _is_settled(line: AccountLine) -> bool:
    try:
        with line.client() as api:
            return bool(api.describe()["unsettled"] == 0)
    except (BridgeError, BridgeLost):
        return False


def _answers(admin: BrokerAdmin) -> bool:
    try:
        return bool(admin.status())
    except (OSError, LinkError):
        return False


def _journal(line: AccountLine) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with line.client() as api:
        while page := api.journal(rows[-1]["sequence"] if rows else 0, PAGE):
            rows += page
    return rows


def run(orders: int, *, seed: int, accounts: int, scale: float, folder: Path, broker_kills: int) -> Report:
    """Run all accounts at once, with the broker killed that many times on the way."""
    broker = Broker(folder / "broker")
    admin = BrokerAdmin(broker.address, broker.admin_token)
    chooser = random.Random(seed)
    shares = [
        Share(
            folder / f"a{number}",
            admin.create_account(password=PASSWORD, balance=1e6),
            broker.address,
            broker.admin_token,
            orders // accounts + (number < orders % accounts),
            chooser.randrange(2**32),
            scale,
            netting=number % 2 == 1,
        )
        for number in range(accounts)
    ]
    for share in shares:
        _make_broker_moody(admin, share)
    begun = time.monotonic()
    report = Report(Verdict(), Counter())
    try:
        with ProcessPoolExecutor(accounts, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(run_account, share) for share in shares]
            _kill_sometimes(broker, shares, futures, broker_kills, report)
            for future in futures:
                part = future.result()
                report.verdict.add(part.verdict)
                report.happened.update(part.happened)
    finally:
        broker.kill()
    report.seconds = time.monotonic() - begun
    return report


def _make_broker_moody(admin: BrokerAdmin, share: Share) -> None:
    """Every other account nets; some orders are requoted, refused or filled in part."""
    if share.netting:
        admin.configure_account(share.login, margin_mode=0)
    for number, kind in enumerate(("requote", "reject", "partial")):
        admin.add_fault(kind, login=share.login, times=0, chance=0.01 * share.scale, seed=share.seed + number)


def _kill_sometimes(broker: Broker, shares: list[Share], futures: list[Any], kills: int, report: Report) -> None:
    """Kill the broker when the first account has passed a part of its orders."""
    admin = BrokerAdmin(broker.address, broker.admin_token, timeout=10.0)
    for number in range(kills):
        wanted = shares[0].orders * (number + 1) / (kills + 1) * 0.8
        while not futures[0].done() and len(admin.orders(shares[0].login)) < wanted:
            time.sleep(0.2 + shares[0].orders / 10_000)
        if futures[0].done():
            return
        broker.kill()
        broker.start()
        report.broker_kills += 1


def describe(report: Report) -> str:
    """The run in words and figures."""
    verdict = report.verdict
    lines = [
        f"{verdict.wishes} orders in {verdict.attempts} attempts, {report.seconds:.0f} s, "
        f"{verdict.wishes / report.seconds:.0f} orders/s",
        f"broker killed: {report.broker_kills}",
        *(f"{fault.value}: {report.happened[fault]}" for fault in Fault),
        "journal: " + ", ".join(f"{count} {state}" for state, count in sorted(verdict.states.items())),
        f"filled in part: {verdict.in_part}",
        "settled from the books: " + ", ".join(f"{n} {state}" for state, n in sorted(verdict.settled_later.items())),
        "not done: " + ", ".join(f"{count} {reason}" for reason, count in verdict.reasons.most_common()),
        f"doubled {len(verdict.doubled)}, lost {len(verdict.lost)}, not settled {len(verdict.unsettled)}, "
        f"otherwise wrong {len(verdict.wrong)}",
        *(verdict.doubled + verdict.lost + verdict.unsettled + verdict.wrong)[:20],
    ]
    return "\n".join(lines)


def main() -> int:
    """Entry point: exit code 1 when an order is lost, doubled or not settled."""
    parser = argparse.ArgumentParser(prog="tests.orders.run", description=__doc__)
    parser.add_argument("--orders", type=int, default=50_000)
    parser.add_argument("--accounts", type=int, default=4)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--faults", type=float, default=1.0, help="factor to the share of every fault")
    parser.add_argument("--data", type=Path, default=Path("/dev/shm"), help="where journal and book are written")
    options = parser.parse_args()
    print(f"seed {options.seed}; journals and the broker's book in {options.data}", flush=True)
    if str(options.data).startswith("/dev/shm"):
        print("that is memory: every write is made and waited for as always, but an fsync costs nothing", flush=True)
    with tempfile.TemporaryDirectory(prefix="m5", dir=options.data) as folder:
        report = run(
            options.orders,
            seed=options.seed,
            accounts=options.accounts,
            scale=options.faults,
            folder=Path(folder),
            broker_kills=max(1, options.orders // 10_000),
        )
    print(describe(report))
    missing = report.missing(options.faults)
    print(f"faults that never happened although they should have: {len(missing)}", *missing, sep="\n")
    return 0 if report.verdict.sound and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
