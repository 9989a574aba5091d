"""An agent of protocol version 1.0 is answered as before."""

from __future__ import annotations

from pathlib import Path

from node_agent.protocol.messages import EVENTS_PATH, SYNC_PATH, EventAck, EventBatch, SyncResponse
from tests.unit.control_plane.world import NodePlayer

FRAMES = Path(__file__).parents[2] / "node_agent" / "protocol" / "frames_1_0"


def test_syncs(node: NodePlayer) -> None:
    response = node.post(SYNC_PATH, (FRAMES / "sync_request.json").read_bytes())
    assert response.status_code == 200, response.text
    assert SyncResponse.model_validate_json(response.content).desired is not None


def test_delivers_events(node: NodePlayer) -> None:
    body = (FRAMES / "event_batch.json").read_bytes()
    response = node.post(EVENTS_PATH, body)
    assert response.status_code == 200, response.text
    ack = EventAck.model_validate_json(response.content)
    ids = {event.event_id for event in EventBatch.model_validate_json(body).events}
    assert set(ack.accepted) | set(ack.rejected) == ids
