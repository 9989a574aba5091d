"""Brings followers to where their leaders are, order by order, each written down before it is placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import methodcaller
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.port import Target, TerminalDoor
from control_plane.access.service import answering_target, ask
from control_plane.accounts import repository as accounts_repository
from control_plane.clock import Clock
from control_plane.copying import repository
from control_plane.copying.hedging import nets, netting_reason
from control_plane.copying.model import Copier, CopyLink, CopyStep
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
    too_late,
)
from control_plane.copying.schemas import SetCopyRules
from control_plane.copying.service import Copying, settings_of, stop_reason
from control_plane.copying.sightings import Sightings
from control_plane.copying.state import CopierState, LinkState, StepKind, StepState
from control_plane.db.engine import Database
from control_plane.errors import FarmError, NotFoundError
from control_plane.identity.owner import Owner
from control_plane.trading.desk import OrderDesk
from control_plane.trading.model import Order
from control_plane.trading.schemas import ClosePosition, ModifyPosition, PlaceOrder
from control_plane.trading.state import SETTLED, OrderState, Side

_AT_ONCE = 8
_SHOWS_UP = timedelta(seconds=10)
"""A position that was just opened may be missing among the positions for a moment."""
_AFTER_REFUSAL = timedelta(seconds=5)
_LOOK_BACK = timedelta(hours=1)
_MARKET_CLOSED = 10018
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Leader:
    """What a leader's terminal answered in this round."""

    target: Target
    positions: Sequence[Any]
    sightings: Sightings


class CopyLoop:
    def __init__(self, database: Database, door: TerminalDoor, desk: OrderDesk, copying: Copying, clock: Clock) -> None:
        self._database = database
        self._door = door
        self._desk = desk
        self._copying = copying
        self._clock = clock
        self._leaders: dict[str, Sightings] = {}
        """By account."""
        self._followers: dict[str, Sightings] = {}
        """By copier, since several may bring the same follower to their leaders at once."""

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            copiers = repository.running(session)
        if not copiers:
            return
        leaders = {each.leader_account_id: each for each in copiers}
        self._leaders = {each: self._leaders.get(each, Sightings()) for each in leaders}
        self._followers = {each.id: self._followers.get(each.id, Sightings()) for each in copiers}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            seen = dict(zip(leaders, pool.map(self._look_at, leaders.values()), strict=True))
            list(pool.map(lambda each: self._follow(each, seen[each.leader_account_id]), copiers))

    def _look_at(self, copier: Copier) -> _Leader | None:
        """None when the leader's terminal does not answer: that says nothing about its positions."""
        owner = Owner(copier.tenant_id, copier.leader_user_id)
        sightings = self._leaders[copier.leader_account_id]
        try:
            target = self._target(owner, copier.leader_account_id)
            positions = ask(self._door, target, methodcaller("positions_get"))
        except FarmError:
            positions = None
        except Exception:  # noqa: BLE001 - one terminal must not keep all others from being followed
            _log.exception("leader_cannot_be_read", copier=copier.id)
            positions = None
        if positions is None:
            sightings.lost()
            return None
        sightings.look([each.ticket for each in positions], self._clock.now())
        return _Leader(target, positions, sightings)

    def _follow(self, copier: Copier, leader: _Leader | None) -> None:
        try:
            self._round(copier, leader)
        except FarmError as error:
            _log.info("copying_waits", copier=copier.id, reason=error.code)
        except IntegrityError:
            _log.info("copied_elsewhere", copier=copier.id)
        except Exception:  # noqa: BLE001 - one follower must not keep the others waiting
            _log.exception("copying_failed", copier=copier.id)

    def _round(self, copier: Copier, leader: _Leader | None) -> None:
        with self._database.read(copier.tenant_id) as session:
            waiting = repository.pending(session, copier.id)
        for step in waiting:
            self._place(copier, step)
        if self._stopped(copier) or leader is None:
            return
        if not copier.started and not self._may_begin(copier, leader):
            return
        settings = settings_of(copier)
        with self._database.read(copier.tenant_id) as session:
            links = repository.links(session, copier.id)
            known = repository.known_tickets(session, copier.id, [each.ticket for each in leader.positions])
            refused = repository.last_refusals(session, copier.id, self._clock.now() - _LOOK_BACK)
            busy = {each.leader_ticket for each in repository.pending(session, copier.id)}
        new = [each for each in leader.positions if each.ticket not in known]
        opened = [each for each in links if each.state != LinkState.IGNORED]
        if new or opened:
            scene = self._scene(copier, settings, leader, links, known, busy, refused)
            for action in actions(scene, settings):
                self._carry_out(copier, action, scene)
        if not copier.started:
            with self._database.write(copier.tenant_id) as session:
                row = repository.held(session, copier.id)
                if row is not None:
                    row.started = True

    def _scene(
        self,
        copier: Copier,
        settings: CopySettings,
        leader: _Leader,
        links: Sequence[CopyLink],
        known: set[int],
        busy: set[int],
        refused: Mapping[int, datetime],
    ) -> Scene:
        """Raises FarmError."""
        target, found = self._positions_of_follower(copier)
        now = self._clock.now()
        held = {each.ticket for each in found}
        following = {each.leader_ticket: each for each in links}
        self._find_lost_tickets(copier, following, found)
        symbols = {
            each.symbol: facts
            for each in leader.positions
            if each.ticket not in known or each.ticket in following
            if (facts := self._symbol(target, each.symbol, settings)) is not None
        }
        # What was known and has ended is not begun anew: a link that says so stands for it.
        ended = {
            ticket: Link(ticket, LinkState.CLOSED, 0, Decimal(0), Decimal(0)) for ticket in known - following.keys()
        }
        missing = following.keys() - {each.ticket for each in leader.positions}
        here = self._followers[copier.id]
        with self._database.read(copier.tenant_id) as session:
            closed = repository.closed_by_deals(session, copier.leader_account_id, missing)
            equities = [
                accounts_repository.snapshot(session, copier.tenant_id, each)
                for each in (copier.leader_account_id, copier.follower_account_id)
            ]
        return Scene(
            leader=[
                _position(each, self._age(leader, each, now) if each.ticket not in known else timedelta(0))
                for each in leader.positions
            ],
            follower=[_position(each) for each in found],
            links=ended
            | {
                ticket: _link(
                    each, busy=ticket in busy or _must_wait(each, held, refused.get(ticket), copier.refusals, now)
                )
                for ticket, each in following.items()
            },
            symbols=symbols,
            magic=copier.magic,
            closed_by_leader=closed | {each for each in missing if leader.sightings.is_gone(each, now)},
            closed_at_follower={each.follower_ticket for each in links if here.is_gone(each.follower_ticket, now)},
            leader_equity=equities[0].equity if equities[0] else Decimal(0),
            follower_equity=equities[1].equity if equities[1] else Decimal(0),
            opening=copier.state == CopierState.ACTIVE,
            first_look=not copier.started,
        )

    def _positions_of_follower(self, copier: Copier) -> tuple[Target, Sequence[Any]]:
        """Raises FarmError."""
        sightings = self._followers[copier.id]
        try:
            target = self._target(Owner(copier.tenant_id, copier.follower_user_id), copier.follower_account_id)
            found = ask(self._door, target, methodcaller("positions_get"))
            if found is None:
                raise NotFoundError("The follower's positions are not known.", code="positions_unknown")
        except FarmError:
            sightings.lost()
            raise
        sightings.look([each.ticket for each in found], self._clock.now())
        return target, found

    def _may_begin(self, copier: Copier, leader: _Leader) -> bool:
        """Whether what the leader lists is what it holds at the start. Raises FarmError."""
        if copier.state == CopierState.PAUSED or not leader.sightings.is_steady(self._clock.now()):
            return False
        return not self._nets(copier, leader)

    def _nets(self, copier: Copier, leader: _Leader) -> bool:
        """Whether one of the accounts is of a kind that cannot be copied; then copying ends. Raises FarmError."""
        follower = self._target(Owner(copier.tenant_id, copier.follower_user_id), copier.follower_account_id)
        for target, who in ((leader.target, "that leads"), (follower, "that follows")):
            if nets(self._door, target):
                with self._database.write(copier.tenant_id) as session:
                    row = repository.held(session, copier.id)
                    if row is not None and row.state != CopierState.STOPPED:
                        self._copying.stop_for(session, row, netting_reason(who))
                return True
        return False

    def _find_lost_tickets(self, copier: Copier, links: Mapping[int, CopyLink], found: Sequence[Any]) -> None:
        """A position has another ticket than its order with some brokers; its comment tells."""
        held = {each.ticket for each in found}
        for link in links.values():
            if link.state != LinkState.OPEN or link.follower_ticket in held:
                continue
            alike = [each for each in found if each.magic == copier.magic and each.comment == _comment(link)]
            if len(alike) == 1:
                link.follower_ticket = alike[0].ticket
                with self._database.write(copier.tenant_id) as session:
                    row = repository.link(session, copier.id, link.leader_ticket)
                    if row is not None:
                        row.follower_ticket = alike[0].ticket

    def _symbol(self, target: Target, name: str, settings: CopySettings) -> SymbolFacts | None:
        wanted = settings.symbol_map.get(name, name)
        info = ask(self._door, target, methodcaller("symbol_info", wanted))
        if info is None:
            offered = ask(self._door, target, methodcaller("symbols_get")) or ()
            other = find_symbol(name, [each.name for each in offered], settings.symbol_map)
            info = None if other is None else ask(self._door, target, methodcaller("symbol_info", other))
        if info is None:
            return None
        tick = ask(self._door, target, methodcaller("symbol_info_tick", info.name))
        return SymbolFacts(
            name=info.name,
            bid=_exact(tick.bid if tick else info.bid),
            ask=_exact(tick.ask if tick else info.ask),
            point=_exact(info.point),
            volume_min=_exact(info.volume_min),
            volume_max=_exact(info.volume_max),
            volume_step=_exact(info.volume_step),
            tick_size=_exact(info.trade_tick_size),
            tick_value=_exact(info.trade_tick_value),
        )

    def _age(self, leader: _Leader, position: Any, now: datetime) -> timedelta:
        """By the clock of the leader's broker, as far as its quotes tell it, and by our own."""
        tick = ask(self._door, leader.target, methodcaller("symbol_info_tick", position.symbol))
        by_broker = int(tick.time_msc) - int(position.time_msc) if tick is not None and tick.time_msc else 0
        return leader.sightings.age(int(position.ticket), timedelta(milliseconds=by_broker), now)

    def _carry_out(self, copier: Copier, action: Action, scene: Scene) -> None:
        now = self._clock.now()
        with self._database.write(copier.tenant_id) as session:
            if isinstance(action, Ignore):
                session.add(_new_link(copier, action, LinkState.IGNORED, now))
                return
            if isinstance(action, Forget):
                _end(repository.link(session, copier.id, action.leader_ticket), action.why, now)
                return
            if isinstance(action, Open):
                session.add(_new_link(copier, action, LinkState.OPENING, now))
                session.flush()
            link = repository.link(session, copier.id, action.leader_ticket)
            if link is None:
                return
            step = _new_step(copier, action, link, scene, now)
            session.add(step)
            link.steps += 1
        self._place(copier, step)

    def _place(self, copier: Copier, step: CopyStep) -> None:
        """Once, however often it is called: the desk knows the key."""
        owner = Owner(copier.tenant_id, copier.follower_user_id)
        key = f"copy:{copier.id}:{step.leader_ticket}:{step.number}"
        if step.kind == StepKind.OPEN and too_late(step.created_at, self._clock.now(), settings_of(copier)):
            order = self._desk.earlier(owner, key)
            if order is None:
                self._refused(
                    copier, step, StepState.NOT_EXECUTED, "It was too old when the follower could be reached."
                )
                return
        try:
            order = self._order(copier, owner, key, step)
        except NotFoundError as error:
            if error.code != "position_not_found":
                self._refused(copier, step, StepState.REFUSED, error.detail)
            elif self._followers[copier.id].is_gone(step.follower_ticket, self._clock.now()):
                self._gone(copier, step)
            return
        except FarmError as error:
            if not error.retryable:
                self._refused(copier, step, StepState.REFUSED, error.detail)
            return
        if order.state in SETTLED:
            self._settled(copier, step, order)

    def _order(self, copier: Copier, owner: Owner, key: str, step: CopyStep) -> Order:
        account = copier.follower_account_id
        if step.kind == StepKind.OPEN:
            wish = PlaceOrder(
                symbol=step.symbol,
                side=Side(step.side),
                volume=step.volume,
                stop_loss=step.stop_loss,
                take_profit=step.take_profit,
                comment=f"copy {step.leader_ticket}"[:27],
            )
            return self._desk.place(owner, account, key, wish, magic=copier.magic)
        if step.kind == StepKind.CLOSE:
            part = ClosePosition(volume=step.volume or None)
            return self._desk.close(owner, account, key, step.follower_ticket, part)
        stops = ModifyPosition(stop_loss=step.stop_loss or None, take_profit=step.take_profit or None)
        return self._desk.modify_position(owner, account, key, step.follower_ticket, stops)

    def _settled(self, copier: Copier, step: CopyStep, order: Order) -> None:
        if order.state != OrderState.DONE:
            state = StepState.REFUSED if order.state == OrderState.REFUSED else StepState.NOT_EXECUTED
            self._refused(copier, step, state, order.message, order)
            return
        now = self._clock.now()
        with self._database.write(copier.tenant_id) as session:
            row = repository.held_step(session, step)
            if row is None or row.state != StepState.PENDING:
                return
            row.state, row.order_id, row.price = StepState.DONE, order.id, order.price
            row.message, row.settled_at = order.message, now
            link = repository.link(session, copier.id, step.leader_ticket)
            if row.kind == StepKind.OPEN:
                if row.lag_ms is not None:
                    row.lag_ms += round(((order.settled_at or now) - row.created_at).total_seconds() * 1000)
                row.slippage_points = _slippage(row, row.slippage_points)
                if link is not None:
                    link.state, link.follower_ticket, link.changed_at = LinkState.OPEN, order.order_ticket, now
            elif row.kind == StepKind.CLOSE and not row.volume:
                _end(link, "It was closed by the leader.", now)
            self._count(session, copier, 0)

    def _gone(self, copier: Copier, step: CopyStep) -> None:
        """The position that was to be closed or changed is not open any more: that is what was wanted, or its end."""
        now = self._clock.now()
        with self._database.write(copier.tenant_id) as session:
            row = repository.held_step(session, step)
            if row is not None and row.state == StepState.PENDING:
                row.state, row.message, row.settled_at = StepState.DONE, "The position was closed already.", now
                _end(repository.link(session, copier.id, step.leader_ticket), row.message, now)

    def _refused(
        self, copier: Copier, step: CopyStep, state: StepState, message: str, order: Order | None = None
    ) -> None:
        now = self._clock.now()
        with self._database.write(copier.tenant_id) as session:
            row = repository.held_step(session, step)
            if row is None or row.state != StepState.PENDING:
                return
            row.state, row.message, row.settled_at = state, message[:300], now
            row.lag_ms = None
            row.slippage_points = None
            row.order_id = order.id if order is not None else ""
            link = repository.link(session, copier.id, step.leader_ticket)
            if row.kind == StepKind.OPEN and link is not None:
                link.state, link.note, link.changed_at = LinkState.IGNORED, message[:300], now
            if state is StepState.REFUSED and (order is None or order.retcode != _MARKET_CLOSED):
                self._count(session, copier, copier.refusals + 1)

    def _count(self, session: Session, copier: Copier, refusals: int) -> None:
        if copier.refusals != refusals:
            copier.refusals = refusals
            row = repository.held(session, copier.id)
            if row is not None:
                row.refusals = refusals

    def _stopped(self, copier: Copier) -> bool:
        """Whether it must stop by itself, and does."""
        rules = SetCopyRules.model_validate(copier.settings)
        with self._database.read(copier.tenant_id) as session:
            snapshot = accounts_repository.snapshot(session, copier.tenant_id, copier.follower_account_id)
        equity = None if snapshot is None else snapshot.equity
        peak = max((each for each in (equity, copier.peak_equity) if each is not None), default=None)
        reason = stop_reason(rules, copier.refusals, equity, peak)
        if not reason and peak == copier.peak_equity:
            return False
        with self._database.write(copier.tenant_id) as session:
            row = repository.held(session, copier.id)
            if row is None or row.state == CopierState.STOPPED:
                return True
            row.peak_equity = peak
            if reason:
                self._copying.stop_for(session, row, reason)
        return bool(reason)

    def _target(self, owner: Owner, account_id: str) -> Target:
        with self._database.read(owner.tenant_id) as session:
            return answering_target(session, owner, account_id, self._clock)


def _position(struct: Any, age: timedelta = timedelta(0)) -> Position:
    return Position(
        ticket=int(struct.ticket),
        symbol=struct.symbol,
        buy=struct.type == 0,
        volume=_exact(struct.volume),
        price_open=_exact(struct.price_open),
        stop_loss=_exact(struct.sl),
        take_profit=_exact(struct.tp),
        magic=int(struct.magic),
        age=age,
    )


def _link(row: CopyLink, *, busy: bool) -> Link:
    return Link(
        leader_ticket=row.leader_ticket,
        state=LinkState(row.state),
        follower_ticket=row.follower_ticket,
        leader_volume=_exact(row.leader_volume),
        follower_volume=_exact(row.follower_volume),
        busy=busy,
    )


def _must_wait(row: CopyLink, held: set[int], refused_at: datetime | None, refusals: int, now: datetime) -> bool:
    """After a refusal, longer each time; and while a new position is not shown yet."""
    if refused_at is not None and now - refused_at < _AFTER_REFUSAL * 2 ** min(refusals, 6):
        return True
    return row.follower_ticket not in held and now - row.changed_at < _SHOWS_UP


def _new_link(copier: Copier, action: Open | Ignore, state: LinkState, now: datetime) -> CopyLink:
    row = CopyLink(
        copier_id=copier.id,
        tenant_id=copier.tenant_id,
        leader_ticket=action.leader_ticket,
        follower_ticket=0,
        state=state,
        symbol=action.symbol,
        leader_volume=0.0,
        follower_volume=0.0,
        steps=0,
        note="",
        changed_at=now,
    )
    if isinstance(action, Open):
        row.leader_volume, row.follower_volume = float(action.leader_volume), float(action.volume)
    else:
        row.note = action.why
    return row


def _new_step(copier: Copier, action: Open | Close | Modify, link: CopyLink, scene: Scene, now: datetime) -> CopyStep:
    """The volume of a whole close is 0."""
    leader = next((each for each in scene.leader if each.ticket == action.leader_ticket), None)
    follower = next((each for each in scene.follower if each.ticket == link.follower_ticket), None)
    buy = action.buy if isinstance(action, Open) else not (follower is not None and follower.buy)
    stops = (Decimal(0), Decimal(0)) if isinstance(action, Close) else (action.stop_loss, action.take_profit)
    volume = action.volume or Decimal(0) if isinstance(action, Open | Close) else Decimal(0)
    symbol = next((each for each in scene.symbols.values() if each.name == link.symbol), None)
    # What the leader held at the start says nothing of how closely it is followed.
    measured = leader if isinstance(action, Open) and not scene.first_look else None
    return CopyStep(
        copier_id=copier.id,
        tenant_id=copier.tenant_id,
        leader_ticket=action.leader_ticket,
        number=link.steps,
        kind={Open: StepKind.OPEN, Close: StepKind.CLOSE, Modify: StepKind.MODIFY}[type(action)],
        symbol=link.symbol,
        side=Side.BUY if buy else Side.SELL,
        volume=float(volume),
        stop_loss=float(stops[0]) or None,
        take_profit=float(stops[1]) or None,
        follower_ticket=link.follower_ticket,
        state=StepState.PENDING,
        message="",
        order_id="",
        leader_price=float(leader.price_open) if leader and isinstance(action, Open) else 0.0,
        price=0.0,
        slippage_points=float(symbol.point) if symbol and measured else None,
        lag_ms=round(measured.age.total_seconds() * 1000) if measured else None,
        created_at=now,
    )


def _slippage(step: CopyStep, point: float | None) -> float | None:
    """The step holds the size of a point in this column until its price is known."""
    if not point:
        return None
    worse = slippage_points(step.side == Side.BUY, _exact(step.leader_price), _exact(step.price), _exact(point))
    return round(float(worse), 1)


def _end(link: CopyLink | None, why: str, now: datetime) -> None:
    if link is not None:
        link.state, link.note, link.changed_at = LinkState.CLOSED, why, now


def _comment(link: CopyLink) -> str:
    return f"copy {link.leader_ticket}"[:27]


def _exact(number: float) -> Decimal:
    return Decimal(repr(float(number)))
