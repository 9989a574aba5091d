"""All SQL of terminals."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Select, cast, delete, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.brokers.model import BrokerServer
from control_plane.fleet.model import Node
from control_plane.terminals.model import OneOffRequest, Terminal, TerminalObservation, TerminalTransition
from control_plane.terminals.state import Hold, Intent, RequestKind, TransitionKind
from node_agent.protocol.messages import Reason


@dataclass(frozen=True)
class Waiting:
    """A terminal with what decides on its place; mostly one that should run and has none."""

    terminal: Terminal
    account: Account
    server: BrokerServer


Position = tuple[datetime, str]
"""In the order of waiting: since when, and the terminal's id."""


@dataclass(frozen=True)
class Claim:
    """Some that wait."""

    found: list[Waiting]
    last: Position | None
    """Where to go on; None when there was nobody."""


def of_account(session: Session, tenant_id: str, account_id: str) -> Terminal:
    query = select(Terminal).where(Terminal.tenant_id == tenant_id, Terminal.account_id == account_id)
    return session.scalars(query).one()


def held_terminal(session: Session, terminal_id: str) -> Terminal | None:
    """Of any tenant, held until the transaction ends where the database can."""
    return session.scalars(select(Terminal).where(Terminal.id == terminal_id).with_for_update()).one_or_none()


def held_of_account(session: Session, tenant_id: str, account_id: str) -> Terminal:
    """As it is now, held until the transaction ends where the database can (SQLite holds everything)."""
    query = select(Terminal).where(Terminal.tenant_id == tenant_id, Terminal.account_id == account_id)
    return session.scalars(query.with_for_update(), execution_options={"populate_existing": True}).one()


def observation(session: Session, tenant_id: str, terminal_id: str) -> TerminalObservation | None:
    query = select(TerminalObservation).where(
        TerminalObservation.tenant_id == tenant_id, TerminalObservation.terminal_id == terminal_id
    )
    return session.scalars(query).one_or_none()


@dataclass(frozen=True, slots=True)
class TerminalColumns:
    """A terminal where an object would cost more than all that is done with it."""

    id: str
    tenant_id: str
    intent: str
    hold: str
    last_epoch: int
    lease_policy: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the newest observation of a terminal said."""

    epoch: int
    phase: str
    reason: str | None
    detail: str
    screen: bool
    service: str
    reported_at: datetime


def last_epochs(session: Session, terminal_ids: Collection[str]) -> dict[str, int]:
    """The highest epoch that was ever handed out, by terminal id, of all tenants."""
    query = select(Terminal.id, Terminal.last_epoch).where(Terminal.id.in_(terminal_ids))
    return dict(session.execute(query).all())


def raise_last_epoch(session: Session, terminal_id: str, epoch: int) -> None:
    query = update(Terminal).where(Terminal.id == terminal_id, Terminal.last_epoch < epoch)
    session.execute(query.values(last_epoch=epoch))


def observations(session: Session, terminal_ids: Collection[str]) -> dict[str, TerminalObservation]:
    """By terminal id, of all tenants."""
    query = select(TerminalObservation).where(TerminalObservation.terminal_id.in_(terminal_ids))
    return {row.terminal_id: row for row in session.scalars(query)}


def open_requests(session: Session, terminal_ids: Collection[str]) -> list[OneOffRequest]:
    """What has been asked for and is not done, of all tenants, the oldest first."""
    query = select(OneOffRequest).where(
        OneOffRequest.terminal_id.in_(terminal_ids), OneOffRequest.finished_at.is_(None)
    )
    return list(session.scalars(query.order_by(OneOffRequest.requested_at, OneOffRequest.id)))


def newest_requests(session: Session, terminal_id: str, kind: RequestKind, limit: int) -> list[OneOffRequest]:
    query = select(OneOffRequest).where(OneOffRequest.terminal_id == terminal_id, OneOffRequest.kind == kind)
    return list(
        session.scalars(query.order_by(OneOffRequest.requested_at.desc(), OneOffRequest.id.desc()).limit(limit))
    )


def request_of(session: Session, terminal_id: str, request_id: str) -> OneOffRequest | None:
    query = select(OneOffRequest).where(OneOffRequest.terminal_id == terminal_id, OneOffRequest.id == request_id)
    return session.scalars(query).one_or_none()


def transitions(
    session: Session,
    tenant_id: str,
    terminal_id: str,
    kinds: Collection[TransitionKind],
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[tuple[TerminalTransition, str | None]]:
    """The newest first, each with the name of its node."""
    query = (
        select(TerminalTransition, Node.name)
        .outerjoin(Node, Node.id == TerminalTransition.node_id)
        .where(
            TerminalTransition.tenant_id == tenant_id,
            TerminalTransition.terminal_id == terminal_id,
            TerminalTransition.kind.in_(kinds),
        )
    )
    if before is not None:
        at, last_id = before
        older = (TerminalTransition.at == at) & (TerminalTransition.id < last_id)
        query = query.where((TerminalTransition.at < at) | older)
    newest_first = query.order_by(TerminalTransition.at.desc(), TerminalTransition.id.desc())
    return [(row, name) for row, name in session.execute(newest_first.limit(limit))]


def transitions_since(
    session: Session, tenant_id: str, terminal_id: str, kinds: Collection[str], since: datetime
) -> list[TerminalTransition]:
    """In the order of time; of equal times the one written first comes first."""
    query = select(TerminalTransition).where(
        TerminalTransition.tenant_id == tenant_id,
        TerminalTransition.terminal_id == terminal_id,
        TerminalTransition.kind.in_(kinds),
        TerminalTransition.at >= since,
    )
    return list(session.scalars(query.order_by(TerminalTransition.at, TerminalTransition.id)))


def delete_transitions(session: Session, before: datetime) -> None:
    session.execute(delete(TerminalTransition).where(TerminalTransition.at < before))


def nodes_with_reasons(session: Session, reasons: Collection[Reason]) -> list[str]:
    """Ids of the nodes that hold a terminal which suffers from one of these."""
    query = (
        select(Assignment.node_id)
        .join(TerminalObservation, TerminalObservation.terminal_id == Assignment.terminal_id)
        .where(Assignment.released_at.is_(None), TerminalObservation.reason.in_(reasons))
        .distinct()
        .order_by(Assignment.node_id)
    )
    return list(session.scalars(query))


def waiting(session: Session) -> list[Waiting]:
    """Of all tenants, the one that waits longest first."""
    return [Waiting(*row) for row in session.execute(_waiting())]


def with_account(session: Session, terminal_id: str) -> Waiting:
    """Of any tenant, waiting or not."""
    query = (
        select(Terminal, Account, BrokerServer)
        .join(Account, Account.id == Terminal.account_id)
        .join(BrokerServer, BrokerServer.name == Account.server)
        .where(Terminal.id == terminal_id)
    )
    return Waiting(*session.execute(query).one())


def anybody_waits(session: Session) -> bool:
    return session.execute(_waiting().limit(1)).first() is not None


def waiting_after(session: Session, after: Position | None, limit: int) -> list[Waiting]:
    """The next of them after a position, to be looked at."""
    return [Waiting(*row) for row in session.execute(_from(_waiting(), after).limit(limit))]


def claim_waiting(session: Session, after: Position | None, limit: int) -> Claim:
    """The next of them after a position, held until the transaction ends; those that others hold are passed over."""
    query = _from(_waiting(), after).limit(limit).with_for_update(of=Terminal, skip_locked=True)
    found = [Waiting(*row) for row in session.execute(query, execution_options={"populate_existing": True})]
    last = (found[-1].terminal.changed_at, found[-1].terminal.id) if found else None
    # What was given a place while this looked for them has none to be held for any more, but was found all the same.
    placed = set(
        session.scalars(
            select(Assignment.terminal_id).where(
                Assignment.terminal_id.in_([each.terminal.id for each in found]), Assignment.released_at.is_(None)
            )
        )
    )
    return Claim([each for each in found if each.terminal.id not in placed], last)


def _waiting() -> Select[Terminal, Account, BrokerServer]:
    return (
        select(Terminal, Account, BrokerServer)
        .join(Account, Account.id == Terminal.account_id)
        .join(BrokerServer, BrokerServer.name == Account.server)
        .outerjoin(Assignment, (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None))
        .where(Terminal.intent == Intent.RUNNING, Terminal.hold == Hold.NONE, Assignment.id.is_(None))
        .order_by(Terminal.changed_at, Terminal.id)
    )


def _from(
    query: Select[Terminal, Account, BrokerServer], after: Position | None
) -> Select[Terminal, Account, BrokerServer]:
    if after is None:
        return query
    changed_at, terminal_id = after
    later = (Terminal.changed_at == changed_at) & (Terminal.id > terminal_id)
    return query.where((Terminal.changed_at > changed_at) | later)


def hold_logins(session: Session, logins: Collection[tuple[str, int]]) -> None:
    """Until the transaction ends nobody else gives a place to a terminal of these logins (server and number).

    SQLite has one writer at a time anyway.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    # In one order, so that two of us never wait for each other.
    keys = sorted(_login_key(server, login) for server, login in logins)
    session.execute(select(func.pg_advisory_xact_lock(func.unnest(cast(keys, ARRAY(BigInteger))))))


def _login_key(server: str, login: int) -> int:
    """A number of 64 bits. Two logins that have the same only wait for each other."""
    digest = hashlib.blake2b(f"{login}@{server}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def runs_elsewhere(session: Session, account: Account) -> bool:
    """Whether the same MT5 login has another terminal with a place; see `held_elsewhere`."""
    return account.id in held_elsewhere(session, [account])


def held_elsewhere(session: Session, accounts: Collection[Account]) -> set[str]:
    """Ids of those accounts whose login has another terminal with a place that the broker let in or still may let in.

    Only one that the broker refused does not count: a stranger with a wrong password must not keep the owner out.
    """
    query = (
        select(Account.id, Account.server, Account.login)
        .join(Terminal, Terminal.account_id == Account.id)
        .join(Assignment, (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None))
        .outerjoin(
            TerminalObservation,
            (TerminalObservation.terminal_id == Terminal.id) & (TerminalObservation.epoch == Assignment.epoch),
        )
        .where(
            tuple_(Account.server, Account.login).in_([(each.server, each.login) for each in accounts]),
            or_(
                TerminalObservation.last_answer_at.is_not(None),
                func.coalesce(TerminalObservation.reason, "") != Reason.BAD_CREDENTIALS,
            ),
        )
    )
    holders = defaultdict(set)
    for account_id, server, login in session.execute(query):
        holders[server, login].add(account_id)
    return {each.id for each in accounts if holders[each.server, each.login] - {each.id}}
