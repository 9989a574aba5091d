"""Reports that are taken together: each as if it had come alone."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.accounts.model import AccountSnapshotRow
from control_plane.agent_api.batches import MOST, Batches, Waiting, next_batch
from control_plane.agent_api.service import Answer
from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy
from control_plane.assignments.repository import alive
from control_plane.assignments.state import AssignmentState
from control_plane.audit.model import AuditEntry
from control_plane.bots.model import Bot, BotObservation
from control_plane.bots.state import BotIntent
from control_plane.bus.port import Change
from control_plane.errors import FarmError, UnavailableError
from control_plane.fleet.model import Node, SeenRequest
from control_plane.fleet.repository import lock_node
from control_plane.fleet.service import SignedReport
from control_plane.fleet.state import IdentityState
from control_plane.ids import new_id
from control_plane.jobs.model import Job
from control_plane.terminals.model import OneOffRequest, Terminal, TerminalObservation, TerminalTransition
from control_plane.terminals.service import request
from control_plane.terminals.state import Actor, Intent, RequestKind
from control_plane.trading.model import EquitySample
from control_plane.vault.model import LoginRefusal, SealedCredentials
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import (
    SYNC_PATH,
    AccountSnapshot,
    BotPhase,
    ObservedBot,
    ObservedTerminal,
    Reason,
    SyncRequest,
    SyncResponse,
)
from node_agent.protocol.messages import Phase as TerminalPhase
from tests.deployments import DISTRIBUTED
from tests.load.fleet import SERVER, Member, build_fleet
from tests.redis_server import wait_until
from tests.unit.control_plane.world import START, World, report

TERMINALS, NODES = 2, 3
_TABLES = (
    Node,
    Assignment,
    Terminal,
    OneOffRequest,
    TerminalObservation,
    TerminalTransition,
    AccountSnapshotRow,
    EquitySample,
    BotObservation,
    SealedCredentials,
    LoginRefusal,
    AuditEntry,
    Job,
)
_OF_ONE_ALONE = {"id", "name", "login", "user_id", "magic", "identity_key", "sealing_key", "sealed_password"} | {
    "key_version",
    "seq",
    "entry_hash",
    "previous_hash",
}
"""Columns that differ between twins."""

phases = st.sampled_from(
    [
        (TerminalPhase.READY, None),
        (TerminalPhase.READY, None),
        (TerminalPhase.LAUNCHING, None),
        (TerminalPhase.STOPPED, None),
        (TerminalPhase.DEGRADED, Reason.BROKER_UNREACHABLE),
        (TerminalPhase.FAILED, Reason.BAD_CREDENTIALS),
    ]
)


@dataclass(frozen=True)
class Sight:
    """What a node says of one of its terminals."""

    phase: tuple[TerminalPhase, Reason | None]
    equity: float | None
    bot: BotPhase | None
    late: bool
    """Under an epoch that is over."""
    done: bool


sights = st.builds(
    Sight,
    phase=phases,
    equity=st.sampled_from([None, 10_000.0, 10_001.0, 1e300]),
    bot=st.sampled_from([None, BotPhase.RUNNING, BotPhase.FAILED]),
    late=st.sampled_from([False, False, False, True]),
    done=st.booleans(),
)


@dataclass(frozen=True)
class Message:
    """What one node sends in a round."""

    node: int
    how: str
    knows_all: bool
    seen: tuple[Sight | None, ...]


def messages(node: int | None = None) -> st.SearchStrategy[Message]:
    """What this node really sends, or, of any node, what should come to nothing."""
    real = ["honest"] * 6 + ["started", "first version"]
    return st.builds(
        Message,
        node=st.integers(0, NODES - 1) if node is None else st.just(node),
        how=st.sampled_from(["replayed", "old", "forged", "garbled", "copy"] if node is None else real),
        knows_all=st.sampled_from([True, True, True, False]),
        seen=st.tuples(*[st.none() | sights for _ in range(TERMINALS)]),
    )


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a terminal before a round."""

    node: int
    terminal: int
    what: str


wishes = st.builds(
    Wish,
    node=st.integers(0, NODES - 1),
    terminal=st.integers(0, TERMINALS - 1),
    what=st.sampled_from(["stop", "stop", "start", "start", "fence", "keep", "restart"]),
)


@dataclass(frozen=True)
class Round:
    seconds: int
    wishes: list[Wish]
    messages: list[Message]


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    sent = [draw(messages(node)) for node in range(NODES)] + draw(st.lists(messages(), max_size=2))
    return Round(
        seconds=draw(st.sampled_from([10, 70, 400])),
        wishes=draw(st.lists(wishes, max_size=3)),
        messages=draw(st.permutations(sent)),
    )


@dataclass
class Twin:
    """A node as its agent knows it."""

    member: Member
    boot: int = 0
    sequence: int = 0
    generation: int = 1
    tokens: list[str] = field(default_factory=lambda: [""])
    sent: SignedReport | None = None


@dataclass(repr=False)
class Side:
    """Some nodes, whose twins are on the other side."""

    world: World
    twins: list[Twin]
    epochs: dict[str, int] = field(default_factory=dict)
    """Newest ones that the nodes have been told, by terminal id."""
    signatures: list[str] = field(default_factory=list)
    requests: dict[str, str] = field(default_factory=dict)
    """Of the terminals that are to be started anew, by terminal id."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: dict[str, str] = field(default_factory=dict)
    bots: dict[str, str] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        if change.subject_id in self.labels:
            self.changes[change.topic, self.labels[change.subject_id]] += 1

    def letter(self, message: Message, now: int) -> SignedReport:
        twin = self.twins[message.node]
        if message.how == "replayed" and twin.sent is not None:
            return twin.sent
        if message.how == "started":
            twin.boot, twin.sequence = twin.boot + 1, 0
        twin.sequence += message.how != "old"
        clock = self.world.clock.now()
        hosted = zip(twin.member.terminals, message.seen, strict=True)
        body = SyncRequest(
            protocol="1.0" if message.how == "first version" else "1.1",
            boot_id=f"boot-{twin.boot}",
            sequence=twin.sequence,
            known_generation=twin.generation if message.knows_all else 0,
            continuity=twin.tokens[-3 if message.how == "copy" and len(twin.tokens) > 2 else -1],
            report=report(clock=clock),
            terminals=[
                self._terminal(one.terminal_id, one.account_id, one.login, see, clock) for one, see in hosted if see
            ],
        ).model_dump_json()
        sent = b"{}" if message.how == "garbled" else body.encode()
        key = (
            Ed25519PrivateKey.generate()
            if message.how == "forged"
            else Ed25519PrivateKey.from_private_bytes(twin.member.key)
        )
        header = sign_request(key, twin.member.node_id, "POST", SYNC_PATH, sent, now)
        twin.sent = SignedReport.read(header, SYNC_PATH, sent, "10.0.0.1")
        self.signatures.append(jwt.decode(header.partition(" ")[2], options={"verify_signature": False})["jti"])
        return twin.sent

    def _terminal(self, terminal_id: str, account_id: str, login: int, sight: Sight, now: datetime) -> ObservedTerminal:
        amount = sight.equity
        return ObservedTerminal(
            terminal_id=terminal_id,
            epoch=self.epochs.get(terminal_id, 1) - sight.late,
            phase=sight.phase[0],
            reason=sight.phase[1],
            since=START,
            last_answer_at=now,
            account=None
            if amount is None
            else AccountSnapshot(
                login=login,
                server=SERVER,
                currency="USD",
                balance=10_000.0,
                credit=0.0,
                profit=0.0,
                equity=amount,
                margin=0.0,
                margin_free=amount,
                positions=0,
                broker_time=1_700_000_000,
                taken_at=now,
            ),
            bots=[]
            if sight.bot is None
            else [ObservedBot(bot_id=self.bots[account_id], revision=1, phase=sight.bot, since=START)],
            finished_requests=[self.requests[terminal_id]] if sight.done and terminal_id in self.requests else [],
        )

    def wish(self, session: Session, wish: Wish) -> None:
        member = self.twins[wish.node].member
        terminal = session.get(Terminal, member.terminals[wish.terminal].terminal_id)
        assert terminal is not None
        match wish.what:
            case "stop":
                terminal.intent = Intent.STOPPED
            case "start":
                terminal.intent = Intent.RUNNING
                if alive(session, terminal.tenant_id, terminal.id) is None:
                    session.add(_assignment(terminal, member.node_id, self.world.clock.now()))
            case "restart":
                now = self.world.clock.now()
                self.requests[terminal.id] = request(session, terminal, RequestKind.RESTART, now, Actor.USER)
            case _:
                terminal.lease_policy = LeasePolicy.SELF_FENCE if wish.what == "fence" else LeasePolicy.KEEP_RUNNING
        self.world.farm.fleet.desired_changed(session, member.node_id)

    def told(self, message: Message, answer: Answer) -> tuple[object, ...]:
        """What came back, without what is of one twin alone."""
        if isinstance(answer, FarmError):
            return (answer.code,)
        if not isinstance(answer, SyncResponse):
            return (type(answer).__name__,)
        twin = self.twins[message.node]
        twin.generation = answer.generation
        twin.tokens.append(answer.continuity)
        if answer.continuity:
            self.labels[answer.continuity] = f"token {message.node} {len(twin.tokens)}"
        for each in answer.desired.terminals if answer.desired else ():
            self.epochs[each.terminal_id] = each.epoch
        desired = answer.desired and sorted(
            (self.labels[each.terminal_id], each.running, each.lease_policy) for each in answer.desired.terminals
        )
        return (answer.generation, desired, answer.continuity != "", answer.server_time)

    def remembered(self, session: Session) -> list[bool]:
        """Whether each signature counts as used."""
        seen = set(session.scalars(select(SeenRequest.token_id)))
        return [each in seen for each in self.signatures]

    def rows(self, session: Session) -> list[tuple[object, ...]]:
        return sorted(
            (
                (model.__tablename__, *self._labelled(row._mapping))
                for model in _TABLES
                for row in session.execute(select(model.__table__))
                if any(isinstance(value, str) and value in self.labels for value in row)
            ),
            key=repr,
        )

    def _labelled(self, row: Any) -> Iterator[object]:
        for name, value in row.items():
            if name not in _OF_ONE_ALONE or (isinstance(value, str) and value in self.labels):
                yield name, self.labels.get(value, value) if isinstance(value, str) else repr(value)


@pytest.fixture
def sides(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Side, Side]:
    fleet = build_fleet(world.farm, 2 * NODES, TERMINALS, 1)
    found = []
    for members in (fleet.members[:NODES], fleet.members[NODES:]):
        side = Side(world, [Twin(each) for each in members])
        for number, member in enumerate(members):
            side.labels[member.node_id] = f"node {number}"
            for place, one in enumerate(member.terminals):
                side.labels[one.terminal_id] = f"terminal {number} {place}"
                side.labels[one.account_id] = f"account {number} {place}"
        found.append(side)
    with world.farm.database.write_as_system() as session:
        for side in found:
            for twin in side.twins:
                for one in twin.member.terminals:
                    bot = _bot(session, one.account_id)
                    side.bots[one.account_id], side.labels[bot] = bot, f"bot of {side.labels[one.account_id]}"
    publish = world.farm.bus.publish

    def see(change: Change) -> None:
        for side in found:
            side.note(change)
        publish(change)

    monkeypatch.setattr(world.farm.bus, "publish", see)
    return found[0], found[1]


def _assignment(terminal: Terminal, node_id: str, now: datetime) -> Assignment:
    terminal.last_epoch += 1
    return Assignment(
        id=new_id("asg"),
        tenant_id=terminal.tenant_id,
        terminal_id=terminal.id,
        node_id=node_id,
        epoch=terminal.last_epoch,
        runtime="simulated",
        state=AssignmentState.RESERVED,
        reserved_at=now,
    )


def _bot(session: Session, account_id: str) -> str:
    tenant_id = session.scalars(select(Node.tenant_id).limit(1)).one()
    row = Bot(
        id=f"bot_{account_id[4:]}",
        tenant_id=tenant_id,
        account_id=account_id,
        name="b",
        strategy="moving_average_cross",
        symbol="EURUSD",
        timeframe="M1",
        volume=0.1,
        parameters={},
        paper=False,
        magic=1,
        revision=1,
        intent=BotIntent.RUNNING,
        changed_at=START,
        created_at=START,
    )
    session.add(row)
    return row.id


@pytest.mark.both_databases
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example goes on where the one before has ended
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(rounds(), min_size=3, max_size=5))
def test_reports_taken_together_leave_what_they_leave_one_after_another(
    sides: tuple[Side, Side], story: list[Round]
) -> None:
    alone, together = sides
    world = alone.world
    farm = world.farm
    for each in story:
        world.clock.advance(seconds=each.seconds)
        with farm.database.write_as_system() as session:
            for side in sides:
                for twin in side.twins:  # so that a copy that was found out is not the end of the story
                    node = session.get(Node, twin.member.node_id)
                    assert node is not None
                    node.identity_expires_at = world.clock.now() + timedelta(hours=1)
                    if node.identity_state == IdentityState.LOCKED:
                        node.identity_state, node.continuity_newest = IdentityState.TRUSTED, None
                for wish in each.wishes:
                    side.wish(session, wish)
        now = int(time.time())
        single = [farm.agent_api.sync_all([alone.letter(message, now)])[0] for message in each.messages]
        mine = [alone.told(*pair) for pair in zip(each.messages, single, strict=True)]
        letters = [together.letter(message, now) for message in each.messages]
        theirs = [together.told(*pair) for pair in zip(each.messages, farm.agent_api.sync_all(letters), strict=True)]
        assert mine == theirs
        with farm.database.read_as_system() as session:
            assert alone.rows(session) == together.rows(session)
            assert alone.remembered(session) == together.remembered(session)
        assert alone.changes == together.changes


@pytest.mark.both_databases
class TestOneOfSeveral:
    def test_that_no_database_can_hold_fails_alone(self, sides: tuple[Side, Side]) -> None:
        side, _ = sides
        letters = [side.letter(_honest(number), int(time.time())) for number in range(NODES)]
        broken = side.letter(_honest(1), int(time.time()))
        body = broken.body.replace(b'"restarts":0', b'"restarts":99999999999999999999')
        assert body != broken.body
        letters[1] = _signed(side.twins[1].member, body)
        answers = side.world.farm.agent_api.sync_all(letters)
        assert [isinstance(each, SyncResponse) for each in answers] == [True, False, True]
        assert not isinstance(answers[1], FarmError)
        with side.world.farm.database.read_as_system() as session:
            heard = {each.id: each.sequence for each in session.scalars(select(Node))}
        assert [heard[twin.member.node_id] for twin in side.twins] == [1, 0, 1]

    def test_with_epochs_from_another_copy_of_the_database_is_taken_alone(self, sides: tuple[Side, Side]) -> None:
        side, _ = sides
        side.epochs[side.twins[1].member.terminals[0].terminal_id] = 7
        letters = [side.letter(_honest(number), int(time.time())) for number in range(NODES)]
        answers = side.world.farm.agent_api.sync_all(letters)
        assert all(isinstance(each, SyncResponse) for each in answers)
        with side.world.farm.database.read_as_system() as session:
            first = session.get(Terminal, side.twins[1].member.terminals[0].terminal_id)
            assert first is not None
            assert first.last_epoch == 7
            assert session.query(Assignment).filter(Assignment.unproven).count() > 0

    @pytest.mark.both_databases(DISTRIBUTED)  # SQLite has one writer at a time
    def test_whose_node_somebody_else_holds_does_not_keep_the_others_waiting(
        self, sides: tuple[Side, Side], deployment_kind: str
    ) -> None:
        assert deployment_kind == DISTRIBUTED
        side, _ = sides
        farm = side.world.farm
        answers: list[Answer] = []
        letters = [side.letter(_honest(number), int(time.time())) for number in range(NODES)]
        thread = threading.Thread(target=lambda: answers.extend(farm.agent_api.sync_all(letters)))
        with farm.database.write_as_system() as session:
            lock_node(session, side.twins[1].member.node_id)
            thread.start()
            wait_until(lambda: _heard(side) == [1, 0, 1])
            assert thread.is_alive()
        thread.join(10)
        assert all(isinstance(each, SyncResponse) for each in answers)


def _honest(node: int) -> Message:
    sight = Sight((TerminalPhase.READY, None), 10_000.0, None, late=False, done=False)
    return Message(node, "honest", knows_all=False, seen=(sight,) * TERMINALS)


def _signed(member: Member, body: bytes) -> SignedReport:
    key = Ed25519PrivateKey.from_private_bytes(member.key)
    return SignedReport.read(sign_request(key, member.node_id, "POST", SYNC_PATH, body, time.time()), SYNC_PATH, body)


def _heard(side: Side) -> list[int]:
    with side.world.farm.database.read_as_system() as session:
        heard = {each.id: each.sequence for each in session.scalars(select(Node))}
    return [heard[twin.member.node_id] for twin in side.twins]


def _report(node_id: str) -> SignedReport:
    return SignedReport(node_id, "", SYNC_PATH, b"", "", "")


class HeldUp:
    """Takes reports by their nodes, and answers once it is let."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.goes_on = threading.Event()

    def take(self, reports: Sequence[SignedReport]) -> list[Answer]:
        self.taken.append([each.node_id for each in reports])
        assert self.goes_on.wait(10)
        return [ValueError(each.node_id) for each in reports]


class TestWaiting:
    def test_no_two_of_one_node_are_taken_together_and_never_more_than_a_few(self) -> None:
        waiting = [Waiting(_report(f"nod_{number // 2}"), Future()) for number in range(4 * MOST)]
        now, later = next_batch(waiting)
        assert now == waiting[: 2 * MOST : 2]
        assert sorted((*now, *later), key=waiting.index) == waiting
        assert later == [each for each in waiting if each not in now]

    def test_what_comes_while_others_are_taken_is_taken_together_after_them(self) -> None:
        desk = HeldUp()
        queue = Batches(desk.take)
        first = queue.put(_report("a"))
        wait_until(lambda: bool(desk.taken))
        others = [queue.put(_report(name)) for name in "bcd"]
        others[1].cancel()
        desk.goes_on.set()
        assert [str(each.result(10)) for each in (first, others[0], others[2])] == ["a", "b", "d"]
        assert desk.taken == [["a"], ["b", "d"]]
        assert str(queue.put(_report("e")).result(10)) == "e"

    def test_nobody_waits_for_ever_when_it_goes_wrong(self) -> None:
        def fail(_reports: Sequence[SignedReport]) -> list[Answer]:
            raise KeyError("a mistake")

        queue = Batches(fail)
        assert isinstance(queue.put(_report("a")).result(10), KeyError)
        assert isinstance(queue.put(_report("b")).result(10), KeyError)

    def test_at_the_end_what_is_being_taken_is_taken_and_what_waits_is_refused_at_once(self) -> None:
        desk = HeldUp()
        queue = Batches(desk.take)
        first = queue.put(_report("a"))
        wait_until(lambda: bool(desk.taken))
        waiting = [queue.put(_report(f"n{number}")) for number in range(2 * MOST)]
        queue.close()
        refused = [each.result(0) for each in [*waiting, queue.put(_report("z"))]]
        assert all(isinstance(each, UnavailableError) and each.retryable for each in refused)
        desk.goes_on.set()
        assert str(first.result(10)) == "a"
        assert desk.taken == [["a"]]
