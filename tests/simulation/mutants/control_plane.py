"""Bugs planted in the control plane."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from control_plane.accounts.model import Account
from control_plane.agent_api import intake, service, snapshot
from control_plane.agent_api.intake import Intake
from control_plane.assignments import relocation
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy, Proof
from control_plane.assignments.service import Assignments
from control_plane.brokers.model import BrokerServer
from control_plane.fleet import drains as fleet_drains
from control_plane.fleet import mass_loss
from control_plane.fleet import service as fleet
from control_plane.fleet import state as fleet_state
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.model import Node
from control_plane.fleet.service import Fleet
from control_plane.fleet.state import Availability, BreakerState, Continuity, NodeState
from control_plane.placement import candidates
from control_plane.placement.decision import Candidate
from control_plane.placement.service import Placing
from control_plane.reconcile import drains
from control_plane.reconcile.node_leases import NodeLeases
from control_plane.terminals import repository as terminals
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import GONE_PHASES
from control_plane.trading.service import TradeLog
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Vault
from node_agent.protocol.messages import EventAck, Phase
from tests.simulation.mutants.planting import Mutant, always, constant

_SILENCE = ("link cut", "cut towards the farm", "machine paused", "host suspended", "agent stopped")
_CROWDED = ("all on one node", "sent back")
_LATE = ("late and out of order", "doubled messages", "lossy link", "agent killed")


def _released_at_once(right: Any) -> Any:
    def revoke(self: Assignments, session: Any, placement: Any, note: str) -> None:
        right(self, session, placement, note)
        self.release(session, placement)

    return revoke


def _same_epoch_again(right: Any) -> Any:
    def assign(self: Placing, session: Any, choice: Any) -> None:
        choice.waiting.terminal.last_epoch = max(0, choice.waiting.terminal.last_epoch - 1)
        right(self, session, choice)

    return assign


def _node_is_not_told(right: Any) -> Any:
    def fence(self: Assignments, session: Any, placement: Any, proof: Proof) -> None:
        node_id = placement.assignment.node_id
        right(self, session, placement, proof)
        node = session.get(Node, node_id)
        session.flush()
        session.refresh(node)
        node.generation -= 1

    return fence


def _one_slot_too_many(right: Any) -> Any:
    return lambda node, load: right(node, replace(load, slots=load.slots - 1))


def _wish_counts_at_once(right: Any) -> Any:
    def set_policy(self: Assignments, session: Any, terminal: Any, policy: LeasePolicy) -> None:
        right(self, session, terminal, policy)
        living = assignments_repository.alive(session, terminal.tenant_id, terminal.id)
        if living is not None:
            living.lease_policy = policy

    return set_policy


def _policy_believed_before_it_is_known(right: Any) -> Any:
    def take(self: Intake, session: Any, reports: Any) -> None:
        right(self, session, reports)
        for node, _ in reports:
            for placement in assignments_repository.of_node(session, node.id):
                placement.assignment.lease_policy = placement.terminal.lease_policy

    return take


def _knows_all_already(right: Any) -> Any:
    def take(self: Intake, session: Any, reports: Any) -> None:
        known = [(node, sync.model_copy(update={"known_generation": node.generation})) for node, sync in reports]
        right(self, session, known)

    return take


def _no_look_at_the_order(right: Any) -> Any:
    def hear(self: Fleet, caller: Any, sync: Any) -> bool:
        caller.node.sequence = -1
        return bool(right(self, caller, sync))

    return hear


def _late_message_proves_a_copy(right: Any) -> Any:
    def hear(self: Fleet, caller: Any, sync: Any) -> bool:
        return bool(right(self, replace(caller, signed_at=2**40), sync))

    return hear


def _only_the_newest_token(right: Any) -> Any:
    def judge(known: Continuity, shown: str, *, speaks: bool) -> Continuity | None:
        judged: Continuity | None = right(replace(known, acknowledged="never"), shown, speaks=speaks)
        return judged

    return judge


def _any_token(_right: Any) -> Any:
    return lambda _known, shown, *, speaks: Continuity(newest=shown, acknowledged=shown)


def _no_look_at_the_start(right: Any) -> Any:
    def hear(self: Fleet, caller: Any, sync: Any) -> bool:
        caller.node.superseded_boot_id = ""
        return bool(right(self, caller, sync))

    return hear


def _lease_runs_from_long_ago(right: Any) -> Any:
    return lambda granted_at, fence_seconds: right(granted_at, fence_seconds * 0.3)


def _first_event_only(right: Any) -> Any:
    def take(self: Intake, session: Any, node: Any, events: list[Any]) -> EventAck:
        right(self, session, node, events[:1])
        return EventAck(accepted=[event.event_id for event in events])

    return take


def _acknowledged_in_vain(_right: Any) -> Any:
    return lambda _self, _session, _node, events: EventAck(accepted=[event.event_id for event in events])


def _only_the_living_epoch_may_tell(right: Any) -> Any:
    def known(session: Any, node_id: str, account_ids: set[str]) -> Any:
        living = {each.assignment.terminal_id for each in assignments_repository.of_node(session, node_id)}
        return {key: account for key, account in right(session, node_id, account_ids).items() if key[1] in living}

    return known


def _stopped_ones_wait_too(right: Any) -> Any:
    def waiting() -> Any:
        return (
            select(Terminal, Account, BrokerServer)
            .join(Account, Account.id == Terminal.account_id)
            .join(BrokerServer, BrokerServer.name == Account.server)
            .outerjoin(
                Assignment,
                (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None),
            )
            .where(Terminal.intent != "deleted", Assignment.id.is_(None))
            .order_by(Terminal.changed_at, Terminal.id)
        )

    return waiting


def _every_node_fits(right: Any) -> Any:
    return lambda node, load: replace(right(node, load), obstacle=None)


def _same_password_version(right: Any) -> Any:
    def put(self: Vault, session: Any, tenant_id: str, account_id: str, password: str) -> int:
        try:
            return self.open_credentials(session, tenant_id, account_id).version
        except SealBrokenError:
            return int(right(self, session, tenant_id, account_id, password))

    return put


def _lost_in_no_time(right: Any) -> Any:
    def judge(self: NodeLeases, node: Any, now: Any) -> NodeState:
        state = right(self, node, now)
        return NodeState.LOST if state is NodeState.SILENT else NodeState(state)

    return judge


def _deals_twice(right: Any) -> Any:
    def record(self: TradeLog, session: Any, account: Any, body: Any, *rest: Any) -> bool:
        return bool(right(self, session, account, body, *rest)) and bool(
            right(self, session, account, body.model_copy(update={"ticket": body.ticket + 10**9}), *rest)
        )

    return record


MUTANTS = (
    Mutant("moved without waiting for the fence", ((relocation, "_unfenced", always(None)),), _SILENCE),
    Mutant(
        "what keeps running counts as fenced",
        (
            (
                relocation,
                "_unfenced",
                lambda right: lambda _policy, node, now: right(LeasePolicy.SELF_FENCE, node, now),
            ),
        ),
        _SILENCE,
    ),
    Mutant(
        "a fence without a watchdog counts",
        (
            (
                relocation,
                "_unfenced",
                lambda right: lambda policy, node, now: right(policy, replace(node, watchdog_up=True), now),
            ),
        ),
        ("no watchdog",),
    ),
    Mutant("the breaker is ignored", ((MassLoss, "is_frozen", always(False)),), ("all links cut",)),
    Mutant(
        "the breaker tolerates everything",
        ((mass_loss, "judge_breaker", always(BreakerState.CLOSED)),),
        ("all links cut",),
    ),
    Mutant(
        "silent counts as lost",
        ((NodeLeases, "_judge", _lost_in_no_time), (relocation, "_unfenced", always(None))),
        _SILENCE,
    ),
    Mutant("released as soon as it is revoked", ((Assignments, "revoke", _released_at_once),)),
    Mutant("stopping counts as stopped", ((intake, "GONE_PHASES", constant(GONE_PHASES | {Phase.STOPPING})),)),
    Mutant("an epoch is given out twice", ((Placing, "_assign", _same_epoch_again),)),
    Mutant("one slot too many", ((candidates, "candidate_of", _one_slot_too_many),), _CROWDED),
    Mutant(
        "what waits for its login holds room back",
        ((fleet_drains, "_placeable", lambda _right: terminals.waiting),),
        ("rivals for a login", "terminal killed", "worker killed", "bus wiped"),
    ),
    Mutant(
        "a stop counts before the node has heard of the start",
        ((Intake, "take_observations", _knows_all_already),),
        ("late and out of order", "lossy link", "terminal killed", "sent back"),
    ),
    Mutant(
        "the breaker tolerates one node more",
        ((fleet_state, "tolerated_losses", lambda right: lambda nodes: right(nodes) + 1),),
        ("all links cut",),
    ),
    Mutant("placed wherever it is", ((candidates, "candidate_of", _every_node_fits),)),
    Mutant(
        "cordons are ignored",
        ((candidates, "_CLOSED", constant(dict.fromkeys(Availability))),),
    ),
    Mutant(
        "a full node has room",
        ((Candidate, "free", lambda _right: property(lambda self: 1)),),
    ),
    Mutant(
        "the fenced node is not told",
        ((Assignments, "fence", _node_is_not_told),),
        ("link cut", "cut towards the farm", "agent stopped", "power cut"),
    ),
    Mutant(
        "a wished policy counts at once",
        ((Assignments, "set_lease_policy", _wish_counts_at_once),),
        ("policy changed behind a cut",),
    ),
    Mutant(
        "a policy counts before the node knows it",
        ((Intake, "take_observations", _policy_believed_before_it_is_known),),
        ("policy changed behind a cut",),
    ),
    Mutant("an old report counts", ((Fleet, "hear", _no_look_at_the_order),), _LATE),
    Mutant("a late message proves a copy", ((Fleet, "hear", _late_message_proves_a_copy),), _LATE),
    Mutant("only the newest token counts", ((fleet, "judge_continuity", _only_the_newest_token),)),
    Mutant(
        "copies are not told apart",
        ((fleet, "judge_continuity", _any_token), (Fleet, "hear", _no_look_at_the_start)),
        ("cloned node",),
    ),
    Mutant("a locked identity is served", ((fleet, "_check_trust", always(None)),), ("cloned node",)),
    Mutant("a copy is noticed and not locked", ((Fleet, "lock", always(None)),), ("cloned node",)),
    Mutant("the lease is thought shorter", ((fleet, "fence_due", _lease_runs_from_long_ago),), _SILENCE),
    Mutant("no change raises the generation", ((Fleet, "desired_changed", always(None)),)),
    Mutant("what leaves is still desired", ((snapshot, "is_leaving", always(False)),)),
    Mutant("what is stopped is still desired", ((snapshot, "should_run", always(True)),)),
    Mutant("one login runs in two terminals", ((terminals, "held_elsewhere", always(frozenset())),)),
    Mutant("events are acknowledged and dropped", ((Intake, "take_events", _acknowledged_in_vain),)),
    Mutant("only the first event of a batch is stored", ((Intake, "take_events", _first_event_only),)),
    Mutant(
        "late events of a former place are refused",
        ((assignments_repository, "accounts_ever_on", _only_the_living_epoch_may_tell),),
    ),
    Mutant("deals are stored twice", ((TradeLog, "record_deal", _deals_twice),)),
    Mutant("stopped terminals get places", ((terminals, "_waiting", _stopped_ones_wait_too),)),
    Mutant("a new password is not stored", ((Vault, "put_credentials", _same_password_version),)),
    Mutant("drains never move anything", ((drains, "drain_steps", always({})), (Assignments, "revoke", always(None)))),
    Mutant(
        "the snapshot is never sent again",
        (
            (
                service,
                "build_snapshots",
                lambda right: (
                    lambda session, vault, nodes, now: {
                        node_id: each.model_copy(update={"terminals": []})
                        for node_id, each in right(session, vault, nodes, now).items()
                    }
                ),
            ),
        ),
    ),
)
