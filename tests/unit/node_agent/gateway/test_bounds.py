"""Who gets in, how many at once, and when a session must end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway.admission import Admission
from node_agent.gateway.configuration import GatewayConfig, Route, Routes
from node_agent.gateway.door import Door
from node_agent.gateway.endings import ending
from node_agent.gateway.hello import Hello, RefusedError, parse
from node_agent.gateway.redeemed import RedeemedTickets
from node_agent.protocol import tickets
from node_agent.protocol.tickets import Scope, Ticket

NODE = "nod_0123456789abcdef"
KEY = Ed25519PrivateKey.generate()
NOW = 1_767_600_000.0
TICKET = Ticket("t-1", NODE, "ter_1", 3, Scope.TRADE, "user:usr_1", access_epoch=2)
ROUTE = Route(epoch=3, worker=Path("/w"), token_file=Path("/t"), access_epoch=2)
ROUTES = Routes({"k": KEY.public_key()}, {"ter_1": ROUTE, "ter_2": ROUTE})
LONGEST = 12 * 3600.0


def with_route(**changes: Any) -> Routes:
    return replace(ROUTES, terminals={"ter_1": ROUTE.model_copy(update=changes)})


class TestEnding:
    def test_a_session_goes_on_while_nothing_has_changed(self) -> None:
        assert ending(TICKET, LONGEST - 1, ROUTES, LONGEST) is None

    @pytest.mark.parametrize(
        ("routes", "reason"),
        [
            (replace(ROUTES, terminals={}), "terminal_gone"),
            (with_route(epoch=4), "stale_epoch"),
            (with_route(access_epoch=3), "access_ended"),
            (replace(ROUTES, revoked=frozenset({"t-1"})), "ticket_revoked"),
        ],
    )
    def test_it_ends_when_its_permission_does(self, routes: Routes, reason: str) -> None:
        assert ending(TICKET, 0.0, routes, LONGEST) == reason

    def test_it_ends_after_its_time(self) -> None:
        assert ending(TICKET, LONGEST, ROUTES, LONGEST) == "too_old"

    def test_a_revoked_ticket_of_another_changes_nothing(self) -> None:
        assert ending(TICKET, 0.0, replace(ROUTES, revoked=frozenset({"t-2"})), LONGEST) is None


class TestDoor:
    def test_one_address_cannot_take_all_places(self) -> None:
        door = Door(most=4, most_of_one=2)
        assert [door.enter("a") for _ in range(3)] == [True, True, False]
        assert [door.enter("b") for _ in range(3)] == [True, True, False]
        assert not door.enter("c"), "full"
        door.leave("a")
        assert door.enter("c")

    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
    def test_never_holds_more_than_it_may(self, steps: list[tuple[bool, str]]) -> None:
        door, inside = Door(most=5, most_of_one=3), []
        for comes, address in steps:
            if comes and door.enter(address):
                inside.append(address)
            elif not comes and address in inside:
                inside.remove(address)
                door.leave(address)
            assert len(inside) <= 5
            assert all(inside.count(each) <= 3 for each in "abc")
        assert door.enter("new") == (len(inside) < 5), "places are given back"


class Gate:
    """Admission with few places."""

    def __init__(self, folder: Path) -> None:
        self.routes = ROUTES
        config = GatewayConfig(
            listen="127.0.0.1:0",
            node_id=NODE,
            certificate=folder,
            key=folder,
            routes=folder,
            redeemed=folder / "redeemed",
            ready=folder,
            max_sessions=4,
            max_sessions_per_terminal=3,
            max_sessions_per_client=2,
            max_views_per_terminal=2,
            max_views_per_client=1,
        )
        self.redeemed = RedeemedTickets(folder / "redeemed")
        self.admission = Admission(config, lambda: self.routes, self.redeemed, lambda: NOW)
        self.issued = 0

    def try_in(self, *, screen: bool = False, **changes: Any) -> str | Ticket:
        """The ticket, or why it was refused."""
        self.issued += 1
        ticket = replace(TICKET, **({"ticket_id": f"t-{self.issued}"} | changes))
        try:
            return self.admission.admit(tickets.issue(KEY, "k", ticket, time.time()), screen=screen)[0]
        except RefusedError as error:
            return error.code

    def come_in(self, **changes: Any) -> Ticket:
        ticket = self.try_in(**changes)
        assert isinstance(ticket, Ticket)
        return ticket

    def try_view(self, **changes: Any) -> str | Ticket:
        return self.try_in(screen=True, **{"scope": Scope.VIEW, **changes})


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.redeemed.close()


class TestAdmission:
    def test_one_client_cannot_take_all_places_of_a_terminal(self, gate: Gate) -> None:
        mine = [gate.come_in() for _ in range(2)]
        assert gate.try_in() == "busy"
        gate.come_in(principal="user:usr_2")
        assert gate.try_in(principal="user:usr_3") == "busy", "the terminal is full"
        gate.come_in(terminal_id="ter_2")
        assert gate.try_in(terminal_id="ter_2") == "busy", "the node is full"
        gate.admission.leave(mine[0])
        gate.come_in()

    def test_a_ticket_that_found_no_room_is_not_used_up(self, gate: Gate) -> None:
        mine = [gate.come_in() for _ in range(2)]
        assert gate.try_in(ticket_id="late") == "busy"
        gate.admission.leave(mine[0])
        gate.come_in(ticket_id="late")

    def test_a_permission_that_was_taken_back_opens_nothing(self, gate: Gate) -> None:
        gate.routes = with_route(access_epoch=3)
        assert gate.try_in() == "ticket_revoked"
        gate.come_in(access_epoch=3)
        gate.routes = replace(ROUTES, revoked=frozenset({"bad"}))
        assert gate.try_in(ticket_id="bad") == "ticket_revoked"

    def test_a_ticket_newer_than_what_the_node_has_heard_is_good(self, gate: Gate) -> None:
        gate.come_in(access_epoch=7)

    def test_a_ticket_for_the_screen_opens_no_bridge_and_the_other_way_round(self, gate: Gate) -> None:
        for scope in (Scope.READ, Scope.TRADE):
            assert gate.try_in(screen=True, scope=scope) == "ticket_other_scope"
        assert gate.try_in(scope=Scope.VIEW, ticket_id="view") == "ticket_other_scope"
        assert isinstance(gate.try_view(ticket_id="view"), Ticket), "it was not used up"

    def test_views_have_bounds_of_their_own(self, gate: Gate) -> None:
        view = gate.try_view()
        assert isinstance(view, Ticket)
        assert gate.try_view() == "busy"
        gate.come_in()
        assert isinstance(gate.try_view(principal="user:usr_2"), Ticket)
        assert gate.try_view(principal="user:usr_3") == "busy", "enough look at this one"
        gate.admission.leave(view)
        assert isinstance(gate.try_view(principal="user:usr_3"), Ticket)

    def test_a_view_needs_the_present_epochs(self, gate: Gate) -> None:
        assert gate.try_view(epoch=2) == "stale_epoch"
        assert gate.try_view(access_epoch=1) == "ticket_revoked"


class TestHello:
    def test_says_what_is_wanted_and_means_the_bridge_unless_it_says_so(self) -> None:
        assert parse(b'{"v":1,"ticket":"t"}') == Hello("t", screen=False)
        assert parse(b'{"v":1,"ticket":"t","channel":"bridge"}') == Hello("t", screen=False)
        assert parse(b'{"v":1,"ticket":"t","channel":"screen"}') == Hello("t", screen=True)

    @pytest.mark.parametrize("channel", ['"shell"', "null", "1", "[]", "{}"])
    def test_asks_for_nothing_that_there_is_not(self, channel: str) -> None:
        with pytest.raises(RefusedError) as refused:
            parse(f'{{"v":1,"ticket":"t","channel":{channel}}}'.encode())
        assert refused.value.code == "malformed_hello"
