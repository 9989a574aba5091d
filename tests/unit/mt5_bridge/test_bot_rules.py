"""What a bot may do beside its owner and other bots: its own trades alone, at a pace, and nothing new while paused."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.bot_rules import BotRule, Pace, own_order_id, parse_bot_rules, rule_for, touches_others
from mt5_bridge.executor import Executor
from mt5_bridge.guard import Guard
from mt5_bridge.journal import Journal
from mt5_bridge.refusals import RefusedError
from mt5_bridge.terminal_link import Account, TerminalLink
from mt5_bridge.trading import Mandate, Sender, TradeDesk
from tests.bridge_doubles import LOGIN, SERVER, StubBackend, struct

DEAL, PENDING, SLTP, MODIFY, REMOVE, CLOSE_BY = 1, 5, 6, 7, 8, 10
MINE, OTHERS = 901, 902
BUY = {"action": DEAL, "symbol": "EURUSD", "volume": 0.1, "type": 0}
BOT = "bot:bot_1"


def rules(**change: Any) -> dict[str, BotRule]:
    return {"bot_1": BotRule(MINE, **change), "bot_2": BotRule(OTHERS)}


class HedgingBackend(StubBackend):
    """A hedging account with positions and waiting orders of two bots and of their owner."""

    def __init__(self) -> None:
        super().__init__()
        for ticket, magic in ((11, MINE), (12, OTHERS), (13, 0)):
            self.positions.append(
                struct("TradePosition", ticket=ticket, symbol="EURUSD", volume=0.3, type=0, magic=magic)
            )
            self.orders.append(struct("TradeOrder", ticket=ticket + 10, symbol="EURUSD", type=2, magic=magic))
        self.on_send = lambda request: self.answer(10009)

    def _account_info(self) -> Any:
        return struct("AccountInfo", login=LOGIN, server=SERVER, balance=10_000.0, margin_mode=2)

    def _orders_get(self, **filters: Any) -> Any:
        return tuple(each for each in self.orders if filters.get("ticket") in {None, each.ticket})


class Terminal:
    """A desk whose clock the test turns."""

    def __init__(self, folder: Path, bots: dict[str, BotRule] | None) -> None:
        self.now = 1_000.0
        self.backend = HedgingBackend()
        self.journal = Journal(folder / "journal", lambda: self.now)
        self.executor = Executor(on_wedged=lambda label: None)
        self.executor.start()
        account = Account(LOGIN, SERVER)
        link = TerminalLink(self.backend, self.executor, account, lambda: self.now)
        mandate = Mandate(7, Guard(bots=bots))
        self.desk = TradeDesk(self.journal, self.executor, link, account, mandate, lambda: self.now)
        link.check()

    def send(self, request: dict[str, Any], principal: str = BOT, order_id: str | None = None) -> str:
        """`sent`, or the code of the refusal."""
        try:
            self.desk.send(Sender(principal, 7), request, order_id)
        except RefusedError as refusal:
            return refusal.code
        return "sent"


@contextlib.contextmanager
def terminal(bots: dict[str, BotRule] | None) -> Iterator[Terminal]:
    with tempfile.TemporaryDirectory() as folder:
        made = Terminal(Path(folder), bots)
        try:
            yield made
        finally:
            made.executor.stop(5)
            made.journal.close()


TICKETS = st.sampled_from([0, 11, 12, 13, 21, 22, 23, 99])
REQUESTS = st.fixed_dictionaries(
    {
        "action": st.sampled_from([DEAL, PENDING, SLTP, MODIFY, REMOVE, CLOSE_BY]),
        "symbol": st.sampled_from(["EURUSD", "GBPUSD"]),
        "volume": st.sampled_from([0.1, 0.3, 0.5]),
        "type": st.sampled_from([0, 1, 2]),
    },
    optional={"position": TICKETS, "position_by": TICKETS, "order": TICKETS, "magic": st.sampled_from([0, OTHERS])},
)


@settings(max_examples=30, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=25), st.booleans(), st.booleans())
def test_whatever_a_bot_sends_is_marked_as_its_own_and_touches_nothing_else(
    requests: list[dict[str, Any]], opens: bool, sends: bool
) -> None:
    with terminal(rules(opens=opens, sends=sends)) as made:
        for request in requests:
            made.send(request)
        sent = made.backend.sent
    assert sends or not sent
    for each in sent:
        assert each["magic"] == MINE
        named = {each[name] for name in ("position", "position_by", "order") if each.get(name)}
        assert named <= {11, 21}
        if not opens and each["action"] not in {SLTP, REMOVE, CLOSE_BY}:
            assert (each["action"], each["position"], each["type"], each["symbol"]) == (DEAL, 11, 1, "EURUSD")
            assert each["volume"] <= 0.3


CLOSE = BUY | {"type": 1, "position": 11, "volume": 0.3}


@pytest.mark.parametrize(
    ("change", "request_", "expected"),
    [
        ({}, BUY, "sent"),
        ({}, CLOSE, "sent"),
        ({}, CLOSE | {"position": 12}, "bot_not_its_own"),
        ({}, CLOSE | {"position": 13}, "bot_not_its_own"),
        ({}, CLOSE | {"position": 99}, "bot_not_its_own"),
        ({}, {"action": CLOSE_BY, "position": 11, "position_by": 13}, "bot_not_its_own"),
        ({}, {"action": REMOVE, "order": 22}, "bot_not_its_own"),
        ({}, {"action": REMOVE, "order": 21}, "sent"),
        ({"opens": False}, BUY, "bot_paused"),
        ({"opens": False}, BUY | {"action": PENDING}, "bot_paused"),
        ({"opens": False}, {"action": MODIFY, "order": 21, "price": 1.1}, "bot_paused"),
        ({"opens": False}, CLOSE, "sent"),
        ({"opens": False}, CLOSE | {"volume": 0.4}, "bot_paused"),
        ({"opens": False}, CLOSE | {"type": 0}, "bot_paused"),
        ({"opens": False}, {"action": REMOVE, "order": 21}, "sent"),
        ({"opens": False}, {"action": SLTP, "symbol": "EURUSD", "position": 11, "sl": 1.0}, "sent"),
        ({"sends": False}, BUY, "bot_paper"),
        ({"sends": False}, CLOSE, "bot_paper"),
    ],
)
def test_a_bot_is_held_to_its_rule(change: dict[str, Any], request_: dict[str, Any], expected: str) -> None:
    with terminal(rules(**change)) as made:
        assert made.send(request_) == expected
        assert len(made.backend.sent) == (expected == "sent")


def test_people_and_the_guard_are_held_to_no_rule_of_a_bot() -> None:
    with terminal(rules(opens=False)) as made:
        for principal in ("user:usr_1", "guard", "service:farm"):
            assert made.send(CLOSE | {"position": 12}, principal) == "sent"
            assert made.send(BUY | {"magic": 5}, principal) == "sent"
        assert {each.get("magic", 0) for each in made.backend.sent} == {0, 5}


def test_a_bot_that_the_worker_was_not_told_of_may_do_nothing() -> None:
    with terminal({}) as made:
        assert made.send(BUY) == "bot_unknown"
    with terminal(None) as made:
        assert made.send(BUY | {"magic": 5}) == "sent", "an older control plane does not tell bots apart"
        assert made.backend.sent[0]["magic"] == 5


def test_a_flood_ends_at_the_pace_and_fills_no_journal() -> None:
    with terminal(rules(orders_per_minute=3)) as made:
        assert [made.send(BUY) for _ in range(5)] == ["sent"] * 3 + ["bot_pace"] * 2
        assert len(made.journal.after(0, 100)) == 3
        assert made.send(BUY, "bot:bot_2") == "sent", "each bot has a pace of its own"
        made.now += 60
        assert made.send(BUY) == "sent"


def test_asking_again_for_an_order_that_is_known_costs_nothing_of_the_pace() -> None:
    with terminal(rules(orders_per_minute=1)) as made:
        assert [made.send(BUY, order_id="bot_1:a") for _ in range(3)] == ["sent"] * 3
        assert len(made.backend.sent) == 1
        assert made.send(BUY, order_id="bot_1:b") == "bot_pace"


@pytest.mark.parametrize("order_id", ["a", "bot_1", "bot_12:a", "bot_2:a", ":a", "BOT_1:a", "user:usr_1"])
def test_a_bot_uses_client_order_ids_of_its_own_alone(order_id: str) -> None:
    assert not own_order_id(BOT, order_id)
    assert own_order_id("user:usr_1", order_id)
    with terminal(rules()) as made:
        assert made.send(BUY, order_id=order_id) == "not_allowed"
        assert not made.journal.after(0, 100)


@given(st.lists(st.tuples(st.floats(0, 400), st.sampled_from(["a", "b"])), max_size=60), st.integers(0, 5))
def test_in_no_minute_does_a_bot_get_more_orders_through_than_it_may(times: list[tuple[float, str]], most: int) -> None:
    pace, admitted = Pace(), dict[str, list[float]](a=[], b=[])
    for at, bot in sorted(times):
        recent = [each for each in admitted[bot] if each > at - 60]
        passed = pace.admit(bot, most, at)
        assert passed is (len(recent) < most), "nothing is refused without need"
        if passed:
            admitted[bot].append(at)
    for sent in admitted.values():
        assert all(sum(start <= at < start + 60 for at in sent) <= most for start in sent)


HELD = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([MINE, OTHERS, 0])), max_size=6, unique_by=lambda one: one[0]
)


@given(st.dictionaries(st.sampled_from(["position", "position_by", "order", "volume"]), st.integers(0, 9)), HELD)
def test_only_what_is_known_to_be_its_own_is_not_others(request_: dict[str, int], held: list[tuple[int, int]]) -> None:
    structs = tuple(struct("TradePosition", ticket=ticket, magic=magic) for ticket, magic in held)
    own = {ticket for ticket, magic in held if magic == MINE}
    named = {ticket for name, ticket in request_.items() if name != "volume" and ticket}
    assert touches_others(request_, structs, MINE) is bool(named - own)


def test_the_rule_of_a_bot_is_found_by_its_id() -> None:
    known = rules()
    assert rule_for(BOT, known) is known["bot_1"]
    assert rule_for("user:bot_1", known) is None
    assert rule_for(BOT, None) is None
    with pytest.raises(RefusedError, match="not been told"):
        rule_for("bot:bot_3", known)


@given(st.builds(BotRule, st.integers(0, 2**63 - 1), st.booleans(), st.booleans(), st.integers(0, 10_000)))
def test_rules_survive_the_configuration(rule: BotRule) -> None:
    assert parse_bot_rules({"bot_1": vars(rule)}) == {"bot_1": rule}


@pytest.mark.parametrize(
    "data",
    [
        [],
        "x",
        {"b": None},
        {"b": {}},
        {"b": {"magic": -1}},
        {"b": {"magic": "1"}},
        {"b": {"magic": True}},
        {"b": {"magic": 2**63}},
        {"b": {"magic": 1, "opens": 1}},
        {"b": {"magic": 1, "sends": None}},
        {"b": {"magic": 1, "orders_per_minute": 1.5}},
        {"b": {"magic": 1, "unknown": 1}},
    ],
)
def test_rules_that_cannot_be_used_are_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"guard\.bots"):
        parse_bot_rules(data)


def test_no_rules_is_not_the_same_as_no_bots() -> None:
    assert parse_bot_rules(None) is None
    assert parse_bot_rules({}) == {}
