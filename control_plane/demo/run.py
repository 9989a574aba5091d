"""One demo run: start the parts, let the demo user set up a small farm over REST, watch it, count, stop."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from control_plane.demo.children import Child, Children, module
from control_plane.demo.count import BrokerBook, Count, FarmLog, compare
from control_plane.demo.farm_client import FarmClient, answers
from control_plane.demo.settings import (
    BOT_ACCOUNTS,
    SERVER_NAME,
    BrokerLogin,
    DemoError,
    DemoSecrets,
    DemoSettings,
    check_machine,
    load_secrets,
    move_node,
    read_json_line,
    write_private,
)
from mt5_bridge import contract
from mt5_bridge.simulated.admin import BrokerAdmin

READY_SECONDS = 90.0
SETTLE_SECONDS = 45.0
BOT_PARAMETERS = {"fast": 3, "slow": 8}
BOT_VOLUME = 0.1


@dataclass
class Outcome:
    """What a timed run ends with; the field names are the keys of its JSON line."""

    terminals_ready: int = 0
    bots_running: int = 0
    orders_sent: int = 0
    deals_broker: int = 0
    deals_recorded: int = 0
    lost: int = 0
    duplicated: int = 0
    first_trade_seconds: float | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return (
            self.terminals_ready == BOT_ACCOUNTS
            and self.bots_running == BOT_ACCOUNTS
            and self.lost == 0
            and self.duplicated == 0
            and not self.errors
        )


class Demo:
    """A farm of one tenant, one user, three accounts with a bot each, and a simulated broker."""

    def __init__(self, settings: DemoSettings, say: Callable[[str], None], stop: threading.Event) -> None:
        self._settings = settings
        self._say = say
        self._stop = stop
        self._began = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._outcome = Outcome()
        self._children = Children(
            record=settings.data / "children.json", say=say, now=time.monotonic, wait=self._stop.wait
        )
        self._client = FarmClient(settings.portal_url, meanwhile=self._look_after_children)
        self._told: dict[int, str] = {}

    def run(self) -> Outcome:
        """Raises DemoError when the farm cannot start or go on; whatever happens, nothing is left running."""
        settings = self._settings
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children.clear_stale()
        self._stop_node()  # what the agent of a killed demo has left keeps the gateway's port
        check_machine(settings)
        secrets = load_secrets(settings.data)
        with self._everything_stopped_after():
            broker, control_plane = self._start_broker(), self._start_control_plane()
            self._children.wait_ready(broker)
            self._open_broker_accounts(secrets)
            self._children.wait_ready(control_plane)
            self._start_agent()
            self._set_up(secrets)
            self._wait_ready()
            self._announce(secrets)
            self._watch()
            if settings.seconds is not None:
                self._count(secrets)
        return self._outcome

    @contextmanager
    def _everything_stopped_after(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._say("Stopping ...")
            self._children.stop("agent")
            self._stop_node()
            self._children.stop("control plane")
            self._children.stop("broker")
            self._client.close()
            self._say("Everything that the demo started is stopped.")

    def _stop_node(self) -> None:
        if not (self._settings.node_data / "agent.sqlite3").exists():
            return
        down = module("node_agent.cli", "down", "--data", str(self._settings.node_data))
        # In a session of its own: an impatient second Ctrl-C must not end what stops the terminals.
        answer = subprocess.run(  # noqa: S603 - argv is built here
            down, capture_output=True, text=True, check=False, start_new_session=True
        )
        if answer.returncode:
            self._say(f"Some processes of the node may still run: {answer.stderr.strip()}")

    def _start_broker(self) -> Child:
        settings = self._settings
        market = f"history of {settings.history}" if settings.history else "a synthetic market"
        self._say(
            f"Starting the simulated broker on {settings.broker_address} with {market} at speed {settings.speed:g} ..."
        )
        arguments = ["--data", str(settings.broker_data), "--listen", settings.broker_address]
        arguments += [
            "--speed",
            str(settings.speed),
            "--seed",
            str(settings.seed),
            "--symbols",
            ",".join(settings.symbols),
        ]
        if settings.history:
            arguments += ["--history", str(settings.history)]
        log = settings.logs / "broker.log"
        broker = Child(
            role="broker",
            argv=module("mt5_bridge.simulated.server", *arguments),
            log=log,
            ready=lambda: read_json_line(log, "ready") is not None,
        )
        self._children.start(broker)
        return broker

    def _open_broker_accounts(self, secrets: DemoSecrets) -> None:
        admin = self._admin()
        for account in secrets.bot_accounts + secrets.spare_accounts:
            admin.create_account(login=account.login, password=account.password, name="Demo trader")

    def _start_control_plane(self) -> Child:
        settings = self._settings
        self._say(f"Starting the control plane on {settings.portal_url} ...")
        server = ["--name", SERVER_NAME, "--company", "MT5 Farm simulated broker"]
        self._control("broker-server", "add", *server, "--simulated-address", settings.broker_address)
        serve = ["--data", str(settings.control_data), "--port", str(settings.port)]
        serve += ["--sync-seconds", "2", "--equity-seconds", "2", "--show-mail"]
        control_plane = Child(
            role="control plane",
            argv=module("control_plane.cli", "serve", *serve, "--agent-port", str(settings.agent_port)),
            log=settings.logs / "control-plane.log",
            ready=lambda: answers(settings.portal_url),
        )
        self._children.start(control_plane)
        return control_plane

    def _start_agent(self) -> None:
        settings = self._settings
        if not (settings.node_data / "agent.json").exists():
            self._say("Enrolling this machine as a node ...")
            enrolment = settings.data / "enrolment.json"
            token = self._control("enroll-token", "--name", "demo-node")
            write_private(enrolment, token)
            arguments = ["--data", str(settings.node_data), "--enrolment", str(enrolment), "--name", "demo-node"]
            arguments += ["--gateway-listen", settings.gateway_address, "--slots", "20"]
            _command("enrol the node", module("node_agent.cli", "enroll", *arguments))
            enrolment.unlink()
        else:
            move_node(settings)
        self._say("Starting the node agent ...")
        agent = Child(
            role="agent",
            argv=module("node_agent.cli", "run", "--data", str(settings.node_data)),
            log=settings.logs / "agent.log",
            ready=(settings.node_data / "agent.sqlite3").exists,
        )
        self._children.start(agent)
        self._children.wait_ready(agent)

    def _set_up(self, secrets: DemoSecrets) -> None:
        """Connect what is not connected yet, so that a second start finds its accounts and bots again."""
        client = self._client
        client.sign_in(secrets.email, secrets.password)
        connected = {account["login"]: account for account in client.accounts()}
        with_bot = {bot["account_id"]: bot for bot in client.bots()}
        for login, symbol in zip(secrets.bot_accounts, cycle(self._settings.symbols), strict=False):
            account = connected.get(login.login) or self._connect(login, symbol)
            bot = with_bot.get(account["id"]) or client.create_bot(
                {
                    "account_id": account["id"],
                    "name": f"Crossing averages on {symbol}",
                    "strategy": "moving_average_cross",
                    "symbol": symbol,
                    "timeframe": "M1",
                    "volume": BOT_VOLUME,
                    "parameters": BOT_PARAMETERS,
                }
            )
            client.start_bot(bot["id"])

    def _connect(self, login: BrokerLogin, symbol: str) -> dict[str, Any]:
        self._say(f"Connecting account {login.login} ...")
        return self._client.connect(f"{symbol} averages", login.login, login.password, SERVER_NAME)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self._children.watch()
            accounts, bots = self._bot_accounts()
            self._tell_phases(accounts)
            if self._all_up(accounts, bots):
                return
            if time.monotonic() > deadline:
                self._outcome.errors.append(f"not ready after {READY_SECONDS:.0f} s: {self._told}")
                return
            self._pause(0.3)

    def _tell_phases(self, accounts: list[dict[str, Any]]) -> None:
        """Say what changed: a terminal that was killed, and the agent's mending of it, show here."""
        for account in accounts:
            terminal = account["terminal"]
            reason = f" ({terminal['reason'].replace('_', ' ')})" if terminal["reason"] else ""
            phase = terminal["phase"].replace("_", " ") + reason
            if self._told.get(account["login"]) != phase:
                self._told[account["login"]] = phase
                self._say(f"Terminal {account['login']}: {phase}")

    def _look_after_children(self) -> None:
        self._children.watch()
        self._pause(0.5)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise KeyboardInterrupt

    def _all_up(self, accounts: list[dict[str, Any]], bots: list[dict[str, Any]]) -> bool:
        self._outcome.terminals_ready = sum(self._is_ready(account["terminal"]) for account in accounts)
        self._outcome.bots_running = sum(bot["phase"] == "running" for bot in bots)
        return self._outcome.terminals_ready == BOT_ACCOUNTS and self._outcome.bots_running == BOT_ACCOUNTS

    def _is_ready(self, terminal: dict[str, Any]) -> bool:
        """Ready in this run: until the node has reported, the control plane shows how the run before it ended."""
        return terminal["phase"] == "ready" and self._is_news(terminal["last_answer_at"])

    def _is_news(self, moment: str | None) -> bool:
        return moment is not None and datetime.fromisoformat(moment) > self._started_at

    def _bot_accounts(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        bots = self._client.bots()
        owned = {bot["account_id"] for bot in bots}
        return [account for account in self._client.accounts() if account["id"] in owned], bots

    def _announce(self, secrets: DemoSecrets) -> None:
        spare = secrets.spare_accounts[0]
        self._say(
            f"The farm is up: {self._outcome.terminals_ready} terminals ready, "
            f"{self._outcome.bots_running} bots running.\n"
            f"\n  Portal    {self._settings.portal_url}"
            f"\n  Sign in   {secrets.email}  /  {secrets.password}"
            f"\n  Connect   login {spare.login}, password {spare.password}, server {SERVER_NAME}  (yours to try)\n"
        )

    def _watch(self) -> None:
        """Keep the children alive until the time is over or the person stops the demo."""
        self._say(
            "Ctrl-C stops it." if self._settings.seconds is None else f"Trading for {self._settings.seconds:g} s ..."
        )
        ends = None if self._settings.seconds is None else time.monotonic() + self._settings.seconds
        while ends is None or time.monotonic() < ends:
            self._children.watch()
            accounts, _ = self._bot_accounts()
            self._tell_phases(accounts)
            if self._outcome.first_trade_seconds is None:
                self._note_first_trade(accounts)
            if self._stop.wait(0.5):
                if self._settings.seconds is None:
                    raise KeyboardInterrupt
                self._say("Stopped early; counting what there is. Ctrl-C again ends without a count.")
                self._stop.clear()
                return

    def _note_first_trade(self, accounts: list[dict[str, Any]]) -> None:
        deals = (deal for account in accounts for deal in self._client.deals(account["id"]))
        if any(deal["symbol"] and self._is_news(deal["recorded_at"]) for deal in deals):
            self._outcome.first_trade_seconds = round(time.monotonic() - self._began, 1)
            self._say(f"First trade in the log after {self._outcome.first_trade_seconds} s.")

    def _count(self, secrets: DemoSecrets) -> None:
        """Stop the bots, wait until the last deal has arrived, compare the books."""
        self._say("Stopping the bots and comparing the trade log with the broker's books ...")
        self._all_up(*self._bot_accounts())
        for bot in self._client.bots():
            self._client.stop_bot(bot["id"])
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            self._children.watch()
            stopped = all(bot["phase"] == "stopped" for bot in self._client.bots())
            count = self._compare(secrets)
            if (stopped and count.clean) or time.monotonic() > deadline:
                break
            self._pause(0.5)
        for name, value in asdict(count).items():
            if name in {"orders_sent", "deals_broker", "deals_recorded", "lost", "duplicated"}:
                setattr(self._outcome, name, value)
        self._outcome.errors += count.notes

    def _compare(self, secrets: DemoSecrets) -> Count:
        admin = self._admin()
        by_login = {account["login"]: account["id"] for account in self._client.accounts()}
        compared = []
        for login in (account.login for account in secrets.bot_accounts):
            # The broker's book first: a deal made between the two readings is then only in the log's favour.
            book = broker_book(admin, login)
            deals = tuple(int(deal["ticket"]) for deal in self._client.deals(by_login[login]))
            orders = tuple((str(o["state"]), int(o["order_ticket"])) for o in self._client.orders(by_login[login]))
            compared.append((login, book, FarmLog(deals=deals, orders=orders)))
        return compare(compared)

    def _admin(self) -> BrokerAdmin:
        token = (self._settings.broker_data / "admin.token").read_text(encoding="ascii").strip()
        return BrokerAdmin(self._settings.broker_address, token)

    def _control(self, *arguments: str) -> str:
        command = module("control_plane.cli", *arguments, "--data", str(self._settings.control_data))
        return _command(f"run {arguments[0]}", command)


def broker_book(admin: BrokerAdmin, login: int) -> BrokerBook:
    """What the broker has on record of one account, all of it."""
    deals = admin.deals(login)
    filled, by_expert = contract.CONSTANTS["ORDER_STATE_FILLED"], contract.CONSTANTS["ORDER_REASON_EXPERT"]
    return BrokerBook(
        trades=frozenset(deal.ticket for deal in deals if deal.symbol),
        balance_deals=frozenset(deal.ticket for deal in deals if not deal.symbol),
        expert_orders=frozenset(o.ticket for o in admin.orders(login) if o.state == filled and o.reason == by_expert),
    )


def _command(purpose: str, argv: list[str]) -> str:
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - argv is built here
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:]
        raise DemoError(f"Could not {purpose}: {last[0] if last else 'it said nothing'}")
    return answer.stdout


def print_outcome(outcome: Outcome) -> None:
    """The JSON object of a timed run, alone on the last line of standard output."""
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
    sys.stdout.flush()
