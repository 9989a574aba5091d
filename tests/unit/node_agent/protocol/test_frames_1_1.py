"""Frames recorded with version 1.1 of the protocol: what an agent or a control plane not yet upgraded still sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.protocol.messages import Guard, ObservedGuard, SyncRequest, SyncResponse, Wire
from tests.unit.node_agent.protocol.test_frames_1_0 import _without_additions

FRAMES = Path(__file__).parent / "frames_1_1"
KINDS: dict[str, type[Wire]] = {"sync_request": SyncRequest, "sync_response": SyncResponse}
_KNOWN_TO_1_1 = {"symbols", "max_volume", "trading"}


def recorded(name: str) -> bytes:
    return (FRAMES / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_is_understood_and_keeps_every_value(name: str) -> None:
    understood = json.loads(KINDS[name].model_validate_json(recorded(name)).model_dump_json())
    assert _without_additions(understood, json.loads(recorded(name))) == json.loads(recorded(name))


def test_an_agent_of_it_reports_no_guard_and_a_control_plane_of_it_sets_no_further_limit() -> None:
    request = SyncRequest.model_validate_json(recorded("sync_request"))
    assert [each.guard for each in request.terminals] == [None] * len(request.terminals)
    response = SyncResponse.model_validate_json(recorded("sync_response"))
    assert response.desired is not None
    for terminal in response.desired.terminals:
        assert terminal.guard == Guard(symbols=["EURUSD"], max_volume=1.5)
        assert terminal.guard_memory is None


def test_a_kill_switch_says_to_it_at_least_that_nothing_may_be_opened() -> None:
    sent = Guard(kill="close_all", kill_id="k", trading=False).model_dump(mode="json")
    understood = {name: value for name, value in sent.items() if name in _KNOWN_TO_1_1}
    assert understood == {"symbols": None, "max_volume": None, "trading": False}


def test_what_a_guard_has_seen_survives_the_wire() -> None:
    seen = ObservedGuard(at=1.5, day=3, day_base=10.0, positions=1, orders=0, kill_id="k")
    assert ObservedGuard.model_validate_json(seen.model_dump_json()) == seen
