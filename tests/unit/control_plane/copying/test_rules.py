"""Whatever the leader does, the follower ends as the rules say, with every order placed once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control_plane.copying.rules import (
    Action,
    Close,
    CopySettings,
    Forget,
    Ignore,
    Link,
    Modify,
    Open,
    Position,
    Scene,
    SymbolFacts,
    actions,
    find_symbol,
    slippage_points,
    volume_of,
)
from control_plane.copying.state import LinkState, Scaling

MAGIC = 770_001
EURUSD = SymbolFacts(
    "EURUSD",
    Decimal("1.1"),
    Decimal("1.1001"),
    Decimal("0.00001"),
    Decimal("0.01"),
    Decimal(50),
    Decimal("0.01"),
    Decimal("0.00001"),
    Decimal(1),
)
ONE = Position(1, "EURUSD", True, Decimal(1), Decimal("1.1"), Decimal("1.09"))


def scene(*leader: Position, **more: object) -> Scene:
    fields = {"follower": (), "links": {}, "symbols": {"EURUSD": EURUSD}, "magic": MAGIC}
    return Scene(leader=leader, **{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scaling", "value", "lots"),
    [
        (Scaling.FIXED, "0.3", "0.3"),
        (Scaling.MULTIPLIER, "0.256", "0.25"),
        (Scaling.EQUITY, "1", "0.5"),
        (Scaling.RISK, "1", "0.05"),
        (Scaling.MULTIPLIER, "0.001", "0"),
        (Scaling.MULTIPLIER, "1000", "50"),
    ],
)
def test_volumes_follow_the_rule_and_the_steps_of_the_symbol(scaling: Scaling, value: str, lots: str) -> None:
    wish = CopySettings(scaling, Decimal(value), most_lots=Decimal(100))
    at = scene(ONE, leader_equity=Decimal(10_000), follower_equity=Decimal(5_000))
    assert volume_of(ONE, EURUSD, at, wish) == Decimal(lots)


LOTS = st.decimals("0.001", "500", places=3)
STEPS = st.sampled_from([Decimal(each) for each in ("0.001", "0.01", "0.03", "0.1", "0.25", "1")])
EQUITIES = st.decimals("-1000", "1000000", places=2)


@given(
    lots=LOTS,
    stop=st.decimals("0", "2", places=5),
    step=STEPS,
    least=st.integers(1, 20),
    most=st.decimals("0.5", "200", places=3),
    scaling=st.sampled_from(Scaling),
    value=st.decimals("0.0001", "1000", places=4),
    cap=st.decimals("0.0001", "10000", places=4),
    equities=st.tuples(EQUITIES, EQUITIES),
)
def test_no_rule_gives_more_than_a_limit_or_anything_but_whole_steps(
    lots: Decimal,
    stop: Decimal,
    step: Decimal,
    least: int,
    most: Decimal,
    scaling: Scaling,
    value: Decimal,
    cap: Decimal,
    equities: tuple[Decimal, Decimal],
) -> None:
    symbol = replace(EURUSD, volume_step=step, volume_min=step * least, volume_max=most)
    position = replace(ONE, volume=lots, stop_loss=stop)
    at = scene(position, leader_equity=equities[0], follower_equity=equities[1])
    volume = volume_of(position, symbol, at, CopySettings(scaling, value, most_lots=cap))
    assert volume >= 0
    assert volume <= min(cap, most)
    assert volume % step == 0
    assert volume == 0 or volume >= symbol.volume_min
    if scaling is Scaling.MULTIPLIER:
        assert volume <= lots * value
        assert volume == 0 or min(lots * value, cap, most) - volume < step, "no step is lost"


@given(
    st.lists(st.tuples(st.booleans(), LOTS), max_size=12),
    st.integers(1, 6),
    st.integers(0, 8),
    st.sets(st.sampled_from(["EURUSD", "USDJPY"])),
)
def test_there_are_never_more_copies_than_allowed_and_none_of_another_symbol(
    held: list[tuple[bool, Decimal]], most: int, linked: int, symbols: set[str]
) -> None:
    leader = [replace(ONE, ticket=100 + n, buy=buy, volume=lots) for n, (buy, lots) in enumerate(held)]
    links = {n: Link(n, LinkState.OPEN, n + 1000, Decimal(1), Decimal(1), busy=True) for n in range(1, linked + 1)}
    wish = CopySettings(most_positions=most, symbols=tuple(sorted(symbols)))
    found = actions(scene(*leader, links=links), wish)
    opened = [each for each in found if isinstance(each, Open)]
    assert len(opened) <= max(0, most - linked)
    assert len(found) == len(leader), "each is either opened or left out with a reason"
    assert not (opened and symbols and "EURUSD" not in symbols)
    assert all(each.why for each in found if isinstance(each, Ignore))


NAMES = st.text("ABCDEFUSDXm.#", min_size=3, max_size=12)


@given(NAMES, st.lists(NAMES, max_size=8), st.dictionaries(NAMES, NAMES, max_size=3))
def test_a_symbol_is_one_that_is_offered_and_as_mapped_when_it_is_mapped(
    name: str, offered: list[str], mapped: dict[str, str]
) -> None:
    found = find_symbol(name, offered, mapped)
    assert found is None or found in offered
    if name in mapped:
        assert found in {None, mapped[name]}
    elif name in offered:
        assert found == name


def test_by_risk_nothing_is_opened_without_a_stop_loss() -> None:
    wish = CopySettings(Scaling.RISK)
    assert volume_of(replace(ONE, stop_loss=Decimal(0)), EURUSD, scene(ONE), wish) == 0


@pytest.mark.parametrize(
    ("name", "offered", "found"),
    [
        ("EURUSD", ["EURUSD", "EURUSDm"], "EURUSD"),
        ("EURUSD", ["EURUSD.pro", "GBPUSD.pro"], "EURUSD.pro"),
        ("EURUSD.a", ["EURUSD"], "EURUSD"),
        ("EURUSD.a", ["EURUSDm", "USDJPYm"], "EURUSDm"),
        ("EURUSD", ["EURUSDm", "EURUSD.x"], None),
        ("XAUUSD", ["GOLD"], None),
    ],
)
def test_symbols_are_found_by_their_ending_and_never_guessed(name: str, offered: list[str], found: str | None) -> None:
    assert find_symbol(name, offered, {}) == found
    assert find_symbol("XAUUSD", ["GOLD"], {"XAUUSD": "GOLD"}) == "GOLD"


@pytest.mark.parametrize(
    ("wish", "position", "more"),
    [
        (CopySettings(symbols=("USDJPY",)), ONE, {}),
        (CopySettings(), replace(ONE, age=timedelta(seconds=31)), {}),
        (CopySettings(), ONE, {"symbols": {}}),
        (CopySettings(most_positions=0), ONE, {}),
        (CopySettings(most_slippage_points=9), ONE, {}),
        (CopySettings(), ONE, {"first_look": True}),
    ],
)
def test_what_breaks_a_limit_is_left_out_for_good_with_a_reason(
    wish: CopySettings, position: Position, more: dict[str, object]
) -> None:
    (found,) = actions(scene(position, **more), wish)
    assert isinstance(found, Ignore)
    assert found.why


def test_paused_copying_opens_nothing_and_still_closes() -> None:
    link = Link(2, LinkState.OPEN, 20, Decimal(1), Decimal(1))
    held = replace(ONE, ticket=20, magic=MAGIC)
    at = scene(ONE, follower=(held,), links={2: link}, closed_by_leader={2}, opening=False)
    assert actions(at, CopySettings()) == [Close(2, 20, None)]


@pytest.mark.parametrize("copy_open", [False, True])
def test_copying_that_is_paused_before_its_first_look_opens_nothing(copy_open: bool) -> None:
    at = scene(ONE, first_look=True, opening=False)
    assert actions(at, CopySettings(copy_open=copy_open)) == []


def test_what_a_terminal_does_not_list_is_not_closed_for_that_alone() -> None:
    link = Link(2, LinkState.OPEN, 20, Decimal(1), Decimal(1))
    held = replace(ONE, ticket=20, magic=MAGIC)
    leads = replace(ONE, ticket=2)
    assert actions(scene(follower=(held,), links={2: link}), CopySettings()) == []
    assert actions(scene(leads, links={2: link}), CopySettings()) == []
    (forgotten,) = actions(scene(leads, links={2: link}, closed_at_follower={20}), CopySettings())
    assert isinstance(forgotten, Forget)


def test_reversed_copying_exchanges_the_stops() -> None:
    (found,) = actions(scene(ONE), CopySettings(reverse=True))
    assert isinstance(found, Open)
    assert (found.buy, found.stop_loss, found.take_profit) == (False, Decimal(0), Decimal("1.09"))


def test_a_worse_price_counts_as_slippage_on_both_sides() -> None:
    point = Decimal("0.00001")
    assert slippage_points(True, Decimal("1.1"), Decimal("1.10010"), point) == 10
    assert slippage_points(False, Decimal("1.1"), Decimal("1.10010"), point) == -10


def test_a_position_of_the_followers_own_is_never_closed_even_under_a_ticket_that_is_linked() -> None:
    link = Link(2, LinkState.OPEN, 20, Decimal(1), Decimal(1))
    own = replace(ONE, ticket=20, magic=0)
    assert actions(scene(follower=(own,), links={2: link}, closed_by_leader={2}), CopySettings()) == []


def test_nothing_is_done_to_a_position_while_an_order_of_it_is_on_its_way() -> None:
    link = Link(2, LinkState.OPEN, 20, Decimal(1), Decimal(1), busy=True)
    held = replace(ONE, ticket=20, magic=MAGIC)
    assert actions(scene(follower=(held,), links={2: link}, closed_by_leader={2}), CopySettings()) == []


class Copying(RuleBasedStateMachine):
    """A leader that does anything, a broker that loses answers, and a farm that dies between two writes.

    The farm's memory (`links`, `steps`) survives; what it was doing does not. An order is one only if its key was never
    seen, as at the desk.
    """

    @initialize(
        reverse=st.booleans(),
        value=st.sampled_from(["1", "0.5", "0.33", "2"]),
        copy_open=st.booleans(),
        copy_stops=st.booleans(),
        already=st.integers(0, 2),
    )
    def begin(self, reverse: bool, value: str, copy_open: bool, copy_stops: bool, already: int) -> None:
        self.wish = CopySettings(value=Decimal(value), reverse=reverse, copy_open=copy_open, copy_stops=copy_stops)
        self.leader: dict[int, Position] = {}
        self.follower: dict[int, Position] = {900: Position(900, "EURUSD", True, Decimal(3), magic=0)}
        self.links: dict[int, Link] = {}
        self.pending: dict[tuple[int, int], Action] = {}
        self.steps: dict[int, int] = {}
        self.orders: dict[tuple[int, int], int] = {}
        self.closed_by_hand: set[int] = set()
        self.first_look = True
        self.tickets = 0
        for _ in range(already):
            self.leader_opens(True, 10)
        self.before = set(self.leader)
        self.reconcile(None)

    @rule(buy=st.booleans(), hundredths=st.integers(4, 300))
    def leader_opens(self, buy: bool, hundredths: int) -> None:
        self.tickets += 1
        volume = Decimal(hundredths) / 100
        self.leader[self.tickets] = Position(self.tickets, "EURUSD", buy, volume, Decimal("1.1"))

    @rule(which=st.integers(0, 9), share=st.sampled_from(["0.5", "0.9", "0.1"]))
    def leader_closes_a_part(self, which: int, share: str) -> None:
        if self.leader:
            ticket = sorted(self.leader)[which % len(self.leader)]
            now = self.leader[ticket].volume
            left = max(Decimal("0.01"), (now * Decimal(share)).quantize(Decimal("0.01")))
            self.leader[ticket] = replace(self.leader[ticket], volume=min(now, left))

    @rule(which=st.integers(0, 9))
    def leader_closes(self, which: int) -> None:
        if self.leader:
            del self.leader[sorted(self.leader)[which % len(self.leader)]]

    @rule(which=st.integers(0, 9), other=st.integers(0, 9))
    def leader_closes_by(self, which: int, other: int) -> None:
        """Two opposite positions against each other: the smaller goes, the larger shrinks."""
        tickets = sorted(self.leader)
        if len(tickets) < 2:
            return
        one, two = self.leader[tickets[which % len(tickets)]], self.leader[tickets[other % len(tickets)]]
        if one.buy == two.buy:
            return
        small, large = sorted((one, two), key=lambda each: each.volume)
        del self.leader[small.ticket]
        if large.volume == small.volume:
            del self.leader[large.ticket]
        else:
            self.leader[large.ticket] = replace(large, volume=large.volume - small.volume)

    @rule(which=st.integers(0, 9), stop=st.sampled_from(["0", "1.05", "1.06"]), profit=st.sampled_from(["0", "1.2"]))
    def leader_moves_stops(self, which: int, stop: str, profit: str) -> None:
        if self.leader:
            ticket = sorted(self.leader)[which % len(self.leader)]
            moved = replace(self.leader[ticket], stop_loss=Decimal(stop), take_profit=Decimal(profit))
            self.leader[ticket] = moved

    @rule(which=st.integers(0, 9))
    def follower_closes_by_hand(self, which: int) -> None:
        copied = sorted(ticket for ticket, each in self.follower.items() if each.magic == MAGIC)
        if copied:
            ticket = copied[which % len(copied)]
            del self.follower[ticket]
            self.closed_by_hand.add(ticket)

    @rule(
        dies_after=st.none() | st.integers(0, 6),
        late=st.booleans(),
        blind=st.sampled_from([(False, False), (True, False), (False, True)]),
    )
    def reconcile(self, dies_after: int | None, late: bool = False, blind: tuple[bool, bool] = (False, False)) -> None:
        """One round. `dies_after` so many writes or orders the farm dies; an order's answer is lost then.

        While orders are `late`, they are on their way and nobody knows of them. A terminal that is `blind` has just
        connected and lists nothing.
        """
        self.left, self.late, self.blind = dies_after, late, blind if not self.first_look else (False, False)
        try:
            self._resume()
            for action in actions(self._scene(), self.wish):
                self._carry_out(action)
            self._alive()
            self.first_look = False
        except _DiedError:
            pass

    @rule()
    def settle(self) -> None:
        """Rounds in which nothing is lost bring the follower to the leader."""
        for _ in range(4):
            self.reconcile(None)
        assert not actions(self._scene(), self.wish), "nothing is left to do"
        for ticket, position in self.leader.items():
            link = self.links[ticket]
            if link.state is not LinkState.OPEN:
                assert link.follower_ticket in self.closed_by_hand or link.state is LinkState.IGNORED
                continue
            held = self.follower[link.follower_ticket]
            assert held.buy == (position.buy != self.wish.reverse)
            share = min(Decimal(1), position.volume / link.leader_volume)
            wanted = link.follower_volume * share
            assert abs(held.volume - wanted) <= Decimal("0.01")
            if self.wish.copy_stops:
                stops = (position.stop_loss, position.take_profit)
                assert (held.stop_loss, held.take_profit) == (stops[::-1] if self.wish.reverse else stops)
        held_links = {each.follower_ticket for each in self.links.values() if each.state is LinkState.OPEN}
        assert {ticket for ticket, each in self.follower.items() if each.magic == MAGIC} == held_links

    @invariant()
    def nothing_is_doubled(self) -> None:
        opened = [key for key, made in self.orders.items() if made]
        assert len({key[0] for key in opened}) == len(opened), "one opening for each position of the leader"

    @invariant()
    def what_is_the_followers_own_is_untouched(self) -> None:
        if hasattr(self, "follower"):
            assert self.follower[900] == Position(900, "EURUSD", True, Decimal(3), magic=0)

    def _scene(self) -> Scene:
        busy = {ticket for ticket, _ in self.pending}
        links = {ticket: replace(each, busy=ticket in busy) for ticket, each in self.links.items()}
        at_leader, at_follower = self.blind
        return scene(
            *(() if at_leader else self.leader.values()),
            follower=() if at_follower else tuple(self.follower.values()),
            links=links,
            closed_by_leader=set(range(1, self.tickets + 1)) - set(self.leader),
            closed_at_follower={each.follower_ticket for each in links.values()} - set(self.follower),
            first_look=self.first_look,
        )

    def _alive(self) -> None:
        if self.left is not None:
            if self.left <= 0:
                raise _DiedError
            self.left -= 1

    def _carry_out(self, action: Action) -> None:
        self._alive()
        ticket = action.leader_ticket
        if isinstance(action, Ignore):
            self.links[ticket] = Link(ticket, LinkState.IGNORED, 0, Decimal(0), Decimal(0))
        elif isinstance(action, Forget):
            self.links[ticket] = replace(self.links[ticket], state=LinkState.CLOSED)
        else:
            if isinstance(action, Open):
                self.links[ticket] = Link(ticket, LinkState.OPENING, 0, action.leader_volume, action.volume)
            key = (ticket, self.steps.get(ticket, 0))
            self.steps[ticket] = key[1] + 1
            self.pending[key] = action
            self._place(key)

    def _resume(self) -> None:
        for key in list(self.pending):
            self._place(key)

    def _place(self, key: tuple[int, int]) -> None:
        self._alive()
        action = self.pending[key]
        if key not in self.orders and self.late:
            return
        if key not in self.orders:
            self.orders[key] = self._fill(action)
        self._alive()  # the answer may be lost here, and the order is asked for by its key again
        del self.pending[key]
        link = self.links[key[0]]
        if isinstance(action, Open):
            self.links[key[0]] = replace(link, state=LinkState.OPEN, follower_ticket=self.orders[key])
        elif isinstance(action, Close) and action.volume is None:
            self.links[key[0]] = replace(link, state=LinkState.CLOSED)

    def _fill(self, action: Action) -> int:
        """At the broker; returns the ticket of a new position."""
        if isinstance(action, Open):
            ticket = 1000 + len(self.orders)
            self.follower[ticket] = Position(
                ticket,
                action.symbol,
                action.buy,
                action.volume,
                Decimal("1.1"),
                action.stop_loss,
                action.take_profit,
                MAGIC,
            )
            return ticket
        held = self.follower.get(action.follower_ticket) if isinstance(action, Close | Modify) else None
        if isinstance(action, Modify) and held is not None:
            moved = replace(held, stop_loss=action.stop_loss, take_profit=action.take_profit)
            self.follower[held.ticket] = moved
        elif isinstance(action, Close) and held is not None:
            assert action.volume is not None or action.leader_ticket not in self.leader, "still open at the leader"
            left = Decimal(0) if action.volume is None else held.volume - action.volume
            if left > 0:
                self.follower[held.ticket] = replace(held, volume=left)
            else:
                del self.follower[held.ticket]
        return 0


class _DiedError(Exception):
    """The farm has died here."""


Copying.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCopying = Copying.TestCase
