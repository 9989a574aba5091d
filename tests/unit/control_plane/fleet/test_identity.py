"""One identity has one life: a copy is noticed, locked, and let back in by a person only."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest

from control_plane.audit.model import AuditEntry
from control_plane.fleet import operations
from control_plane.fleet.model import Node
from node_agent.protocol.messages import EVENTS_PATH, SYNC_PATH, EventBatch
from tests.unit.control_plane.world import NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases


def cloned(node: NodePlayer) -> NodePlayer:
    """A second machine with the same disk; it is started, so it is another boot."""
    second = copy.copy(node)
    second.boot_id, second.sequence = f"{node.boot_id}-again", 0
    return second


def refusal(node: NodePlayer, *, seconds_later: float = 0) -> str:
    """The code with which a sync is refused. Signatures count whole seconds of real time, so that later is said."""
    node.clock_ahead += seconds_later
    response = node.post(SYNC_PATH, node.sync_body([]))
    return str(response.json().get("code", response.status_code))


class TestClone:
    def test_the_first_of_two_lives_to_show_an_old_token_locks_the_identity(self, node: NodePlayer) -> None:
        node.sync()
        second = cloned(node)
        second.sync()
        second.sync()
        assert refusal(node, seconds_later=5) == "identity_locked"
        assert refusal(second) == "identity_locked"

    def test_also_when_both_show_the_same_token_first(self, node: NodePlayer) -> None:
        node.sync()
        second = cloned(node)
        node.sync()
        second.sync()  # the first one's answer might have been lost, so this may still be the same life
        assert refusal(node, seconds_later=5) == "identity_locked"

    def test_also_when_the_memory_was_copied_with_the_disk(self, node: NodePlayer) -> None:
        node.sync()
        second = copy.copy(node)
        node.sync()
        assert refusal(second, seconds_later=5) == "sequence_outdated"
        node.sync()
        second.sequence = node.sequence
        assert refusal(second, seconds_later=5) == "identity_locked"

    def test_a_locked_identity_is_refused_everything(self, world: World, node: NodePlayer) -> None:
        with world.farm.database.write_as_system() as session:
            world.farm.fleet.lock(session, session.get_one(Node, node.node_id), "for a test")
        body = EventBatch(events=[]).model_dump_json().encode()
        assert node.post(EVENTS_PATH, body).json()["code"] == "identity_locked"
        watch = node.http.get(
            "/agent/v1/watch?generation=0", headers={"Authorization": node.sign("GET", "/agent/v1/watch", b"")}
        )
        assert watch.json()["code"] == "identity_locked"

    def test_the_lock_is_written_down(self, world: World, node: NodePlayer) -> None:
        self.test_the_first_of_two_lives_to_show_an_old_token_locks_the_identity(node)
        with world.farm.database.read_as_system() as session:
            row = session.query(AuditEntry).filter_by(action="lock").one()
        assert (row.actor, row.action, row.subject_id) == ("farm", "lock", node.node_id)

    def test_nothing_is_placed_there(self, world: World, trader: Trader, node: NodePlayer) -> None:
        self.test_the_first_of_two_lives_to_show_an_old_token_locks_the_identity(node)
        account = trader.connect()
        world.run_loops()
        assert trader.call("GET", f"/accounts/{account['id']}")["terminal"]["node_name"] is None

    def test_no_ticket_leads_there(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(trader, node)
        with world.farm.database.write_as_system() as session:
            world.farm.fleet.lock(session, session.get_one(Node, node.node_id), "for a test")
        problem = trader.call("POST", f"/accounts/{account}/tickets", 409, {"scope": "read"})
        assert problem["code"] == "terminal_not_ready"


class TestNoClone:
    def test_an_answer_that_was_lost_is_asked_for_again(self, node: NodePlayer) -> None:
        node.sync()
        for _ in range(3):
            before = node.continuity
            node.sync()
            node.continuity = before  # it never got there
        node.sync()
        node.sync()

    def test_a_restarted_agent_shows_what_it_has_on_disk(self, node: NodePlayer) -> None:
        for boot in range(4):
            node.boot_id, node.sequence = f"boot-{boot}", 0
            node.sync()
            node.sync()

    def test_an_old_message_that_arrives_late_locks_nobody(self, node: NodePlayer) -> None:
        node.sync()
        late_body = node.sync_body([])
        late_signature = node.sign("POST", SYNC_PATH, late_body)
        node.boot_id, node.sequence, node.clock_ahead = "boot-2", 0, 5
        node.sync()
        node.sync()
        assert node.post(SYNC_PATH, late_body, late_signature).json()["code"] == "sequence_outdated"
        node.sync()

    def test_a_late_message_of_a_former_start_does_not_supersede_the_present_one(self, node: NodePlayer) -> None:
        node.sync()
        node.sync()
        node.boot_id, node.sequence = "boot-2", 0
        late_body = node.sync_body([])
        late_signature = node.sign("POST", SYNC_PATH, late_body)
        node.boot_id, node.sequence, node.clock_ahead = "boot-3", 0, 5
        node.sync()
        assert node.post(SYNC_PATH, late_body, late_signature).json()["code"] == "sequence_outdated"
        node.sync()

    def test_an_agent_of_1_0_knows_of_no_token(self, node: NodePlayer) -> None:
        node.protocol = "1.0"
        for boot in range(3):
            node.boot_id, node.sequence, node.continuity = f"boot-{boot}", 0, ""
            node.sync()

    def test_an_agent_may_be_put_back_to_1_0_and_forward_again(self, node: NodePlayer) -> None:
        node.sync()
        node.sync()
        node.boot_id, node.sequence, node.protocol, node.continuity = "boot-2", 0, "1.0", ""
        node.sync()
        node.boot_id, node.sequence, node.protocol, node.continuity = "boot-3", 0, "1.1", ""
        node.sync()
        node.sync()


class TestUnlock:
    @pytest.fixture
    def second(self, node: NodePlayer) -> NodePlayer:
        node.sync()
        second = cloned(node)
        second.sync()
        second.sync()
        assert refusal(node, seconds_later=5) == "identity_locked"
        return second

    @pytest.mark.parametrize("survivor", ["first", "second"])
    def test_whichever_machine_is_left_is_the_node_again(
        self, world: World, node: NodePlayer, second: NodePlayer, survivor: str
    ) -> None:
        operator = world.operator()
        left = node if survivor == "first" else second
        answer = operator.call("POST", f"/nodes/{node.node_id}/unlock", 200, {"reason": "the copy is deleted"})
        assert answer["identity_state"] == "trusted"
        left.clock_ahead = 10
        left.sync()
        left.sync()

    def test_what_the_other_one_said_before_is_believed_no_more(
        self, world: World, node: NodePlayer, second: NodePlayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may have been under way for a while, on a machine whose clock was as far ahead as is allowed."""
        late = second.sync_body([])
        signature = second.sign("POST", SYNC_PATH, late)
        # The farm's clock stands still here, long before the real time of signatures.
        skew = int(datetime.now(UTC).timestamp() - world.clock.now().timestamp()) + 1
        monkeypatch.setattr(operations, "CLOCK_SKEW_SECONDS", skew)
        world.operator().call("POST", f"/nodes/{node.node_id}/unlock", 200, {"reason": "the copy is deleted"})
        assert second.post(SYNC_PATH, late, signature).json()["code"] == "sequence_outdated"
        node.clock_ahead = 10
        node.sync()
        assert refusal(second) == "sequence_outdated"
        node.sync()

    def test_when_both_are_left_they_lock_it_again(self, world: World, node: NodePlayer, second: NodePlayer) -> None:
        world.operator().call("POST", f"/nodes/{node.node_id}/unlock", 200, {"reason": "hoping for the best"})
        second.sync()
        second.sync()
        assert refusal(node, seconds_later=10) == "identity_locked"

    def test_is_for_a_locked_one(self, world: World, node: NodePlayer) -> None:
        problem = world.operator().call("POST", f"/nodes/{node.node_id}/unlock", 409, {"reason": "just so"})
        assert problem["code"] == "not_locked"


def test_a_revoked_identity_stays_revoked(world: World, node: NodePlayer) -> None:
    operator = world.operator()
    shown = operator.call("POST", f"/nodes/{node.node_id}/revoke", 200, {"reason": "the machine was stolen"})
    assert (shown["identity_state"], shown["identity_note"]) == ("revoked", "the machine was stolen")
    assert refusal(node) == "identity_revoked"
    problem = operator.call("POST", f"/nodes/{node.node_id}/revoke", 409, {"reason": "to be sure"})
    assert problem["code"] == "already_revoked"
    operator.call("POST", f"/nodes/{node.node_id}/unlock", 409, {"reason": "it is back"})
