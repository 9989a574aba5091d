"""The limits of an account between versions of the protocol: an agent of 1.1 knows three of them."""

from __future__ import annotations

from node_agent.protocol.messages import Guard, ObservedGuard, SyncRequest, SyncResponse
from tests.unit.node_agent.protocol.test_frames import recorded

_KNOWN_TO_1_1 = {"symbols", "max_volume", "trading"}


def test_an_agent_of_1_1_reports_no_guard_and_a_control_plane_of_it_sets_no_further_limit() -> None:
    request = SyncRequest.model_validate_json(recorded("sync_request", "1_1"))
    assert [each.guard for each in request.terminals] == [None] * len(request.terminals)
    response = SyncResponse.model_validate_json(recorded("sync_response", "1_1"))
    assert response.desired is not None
    for terminal in response.desired.terminals:
        sent = terminal.guard.model_dump(include=_KNOWN_TO_1_1)
        assert terminal.guard == Guard(**sent)
        assert terminal.guard_memory is None


def test_a_kill_switch_says_to_an_agent_of_1_1_at_least_that_nothing_may_be_opened() -> None:
    sent = Guard(kill="close_all", kill_id="k", trading=False).model_dump(mode="json")
    understood = {name: value for name, value in sent.items() if name in _KNOWN_TO_1_1}
    assert understood == {"symbols": None, "max_volume": None, "trading": False}


def test_what_a_guard_has_seen_survives_the_wire() -> None:
    seen = ObservedGuard(at=1.5, day=3, day_base=10.0, positions=1, orders=0, kill_id="k")
    assert ObservedGuard.model_validate_json(seen.model_dump_json()) == seen
