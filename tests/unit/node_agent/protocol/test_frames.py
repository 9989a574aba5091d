"""Frames recorded with older versions of the protocol: what those not yet upgraded still send."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.protocol.messages import (
    EnrollRequest,
    EnrollResponse,
    EventAck,
    EventBatch,
    SyncRequest,
    SyncResponse,
    WatchResponse,
    Wire,
)
from node_agent.protocol.tickets import Scope, Ticket

FRAMES = Path(__file__).parent / "frames_1_0"
VERSIONS = ("1_0", "1_1")
KINDS: dict[str, type[Wire]] = {
    "enroll_request": EnrollRequest,
    "enroll_response": EnrollResponse,
    "sync_request": SyncRequest,
    "sync_response": SyncResponse,
    "sync_response_not_modified": SyncResponse,
    "watch_response": WatchResponse,
    "event_batch": EventBatch,
    "event_ack": EventAck,
}


def recorded(name: str, version: str = "1_0") -> bytes:
    return (FRAMES.parent / f"frames_{version}" / f"{name}.json").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_a_kind_for_each_recorded_frame(version: str) -> None:
    assert {path.stem for path in (FRAMES.parent / f"frames_{version}").glob("*.json")} == set(KINDS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(KINDS))
def test_is_understood_and_keeps_every_value(name: str, version: str) -> None:
    frame = recorded(name, version)
    understood = json.loads(KINDS[name].model_validate_json(frame).model_dump_json())
    assert _without_additions(understood, json.loads(frame)) == json.loads(frame)


def test_says_nothing_of_what_came_later() -> None:
    request = SyncRequest.model_validate_json(recorded("sync_request"))
    assert (request.protocol, request.continuity, request.gateway_csr) == ("1.0", "", "")
    assert request.report.watchdog_up is False
    assert [each.flat for each in request.terminals] == [None, None]
    response = SyncResponse.model_validate_json(recorded("sync_response"))
    assert (response.continuity, response.fence_seconds, response.gateway_certificate) == ("", None, "")
    assert response.desired is not None
    assert response.desired.terminals[0].lease_policy == "keep_running"
    assert response.desired.revoked_tickets == []


def test_a_ticket_without_an_access_epoch_has_the_lowest() -> None:
    assert Ticket("t", "nod", "ter", 1, Scope.READ, "user:u").access_epoch == 0


def _without_additions(newer: object, older: object) -> object:
    """`newer` without what `older` has no field for."""
    if isinstance(newer, dict) and isinstance(older, dict):
        return {key: _without_additions(newer[key], older[key]) for key in older if key in newer}
    if isinstance(newer, list) and isinstance(older, list) and len(newer) == len(older):
        return [_without_additions(*pair) for pair in zip(newer, older, strict=True)]
    return newer
