"""What the follower has to do so that it is what the leader is, by its own rules. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from control_plane.copying.state import LinkState, Scaling

_SUFFIXES = 8
"""A broker's own ending of a symbol (`EURUSD.pro`, `EURUSDm`) is not longer."""


@dataclass(frozen=True)
class CopySettings:
    """How one account follows another. Volumes in lots."""

    scaling: Scaling = Scaling.MULTIPLIER
    value: Decimal = Decimal(1)
    reverse: bool = False
    """Sell what the leader buys, with stop loss and take profit exchanged."""
    symbols: tuple[str, ...] = ()
    """Of the leader; only these are copied. Empty for all."""
    symbol_map: Mapping[str, str] = field(default_factory=dict)
    """The follower's name by the leader's, where it is not found by itself."""
    most_lots: Decimal = Decimal(100)
    """Of one position; a larger one is copied with so many."""
    most_positions: int = 50
    most_slippage_points: int | None = None
    """An opening whose price is worse by more is left out."""
    most_delay: timedelta = timedelta(seconds=30)
    """An opening that is older is left out."""
    copy_stops: bool = True
    copy_open: bool = False
    """Whether positions that the leader holds at the start are copied."""


@dataclass(frozen=True)
class Position:
    ticket: int
    symbol: str
    buy: bool
    volume: Decimal
    price_open: Decimal = Decimal(0)
    stop_loss: Decimal = Decimal(0)
    """0 for none."""
    take_profit: Decimal = Decimal(0)
    magic: int = 0
    age: timedelta = timedelta(0)
    """Since its opening, by the clock of its broker."""


@dataclass(frozen=True)
class SymbolFacts:
    """A symbol at the follower's broker."""

    name: str
    bid: Decimal
    ask: Decimal
    point: Decimal
    volume_min: Decimal
    volume_max: Decimal
    volume_step: Decimal
    tick_size: Decimal = Decimal(0)
    tick_value: Decimal = Decimal(0)
    """What one lot gains in the follower's currency when the price moves by `tick_size`."""


@dataclass(frozen=True)
class Link:
    """What is known of one copied position."""

    leader_ticket: int
    state: LinkState
    follower_ticket: int
    leader_volume: Decimal
    follower_volume: Decimal
    busy: bool = False
    """A step of it is not settled yet: nothing else is done to it."""


@dataclass(frozen=True)
class Scene:
    """Both accounts at one moment."""

    leader: Sequence[Position]
    follower: Sequence[Position]
    links: Mapping[int, Link]
    """By the leader's ticket."""
    symbols: Mapping[str, SymbolFacts]
    """By the leader's name; what is missing is not offered to the follower."""
    magic: int
    closed_by_leader: Collection[int] = ()
    """Tickets of the leader that are known to be closed: not to be listed proves nothing."""
    closed_at_follower: Collection[int] = ()
    """The same of the follower's tickets."""
    leader_equity: Decimal = Decimal(0)
    follower_equity: Decimal = Decimal(0)
    opening: bool = True
    """False while copying is paused: then nothing new is opened."""
    first_look: bool = False
    """What the leader holds now was open before copying began."""


@dataclass(frozen=True)
class Open:
    leader_ticket: int
    symbol: str
    buy: bool
    volume: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    leader_volume: Decimal
    leader_price: Decimal


@dataclass(frozen=True)
class Close:
    """A part of the follower's position, or with None the whole."""

    leader_ticket: int
    follower_ticket: int
    volume: Decimal | None


@dataclass(frozen=True)
class Modify:
    leader_ticket: int
    follower_ticket: int
    stop_loss: Decimal
    take_profit: Decimal


@dataclass(frozen=True)
class Ignore:
    """Never to be copied."""

    leader_ticket: int
    symbol: str
    why: str


@dataclass(frozen=True)
class Forget:
    """The link has come to its end."""

    leader_ticket: int
    why: str


Action = Open | Close | Modify | Ignore | Forget


def actions(scene: Scene, settings: CopySettings) -> list[Action]:
    """Closing comes first: it frees margin and places."""
    leader = {each.ticket: each for each in scene.leader}
    # The follower's own positions have another magic number and are not even looked at.
    follower = {each.ticket: each for each in scene.follower if each.magic == scene.magic}
    found: list[Action] = []
    for link in scene.links.values():
        if link.state is LinkState.OPEN and not link.busy:
            action = _follow(link, leader.get(link.leader_ticket), follower.get(link.follower_ticket), scene, settings)
            found += [action] if action else []
    held = sum(each.state in {LinkState.OPEN, LinkState.OPENING} for each in scene.links.values())
    for position in scene.leader:
        if position.ticket in scene.links or not scene.opening:
            continue
        begun = _begin(position, held, scene, settings)
        held += isinstance(begun, Open)
        found.append(begun)
    return found


def volume_of(position: Position, symbol: SymbolFacts, scene: Scene, settings: CopySettings) -> Decimal:
    """Lots to open, a multiple of the step; 0 when the rules give less than the smallest."""
    match settings.scaling:
        case Scaling.FIXED:
            wished = settings.value
        case Scaling.MULTIPLIER:
            wished = position.volume * settings.value
        case Scaling.EQUITY:
            ratio = scene.follower_equity / scene.leader_equity if scene.leader_equity > 0 else Decimal(0)
            wished = position.volume * ratio * settings.value
        case Scaling.RISK:
            wished = _by_risk(position, symbol, scene, settings)
    return _allowed(min(wished, settings.most_lots), symbol)


def find_symbol(name: str, offered: Iterable[str], mapped: Mapping[str, str]) -> str | None:
    """The follower's name of a leader's symbol: as mapped, the same, or the one that differs by its ending alone."""
    names = set(offered)
    if name in mapped:
        return mapped[name] if mapped[name] in names else None
    if name in names:
        return name
    alike = sorted(
        each
        for each in names
        if (each.startswith(name) or name.startswith(each))
        and abs(len(each) - len(name)) <= _SUFFIXES
        and len(each) > 2
    )
    if not alike:
        core = "".join(letter for letter in name[:6] if letter.isalnum())
        alike = sorted(each for each in names if len(core) == 6 and each.startswith(core))
    return alike[0] if len(alike) == 1 else None


def slippage_points(buy: bool, leader_price: Decimal, price: Decimal, point: Decimal) -> Decimal:
    """How many points the follower's price is worse than the leader's; negative when it is better."""
    if point <= 0 or leader_price <= 0 or price <= 0:
        return Decimal(0)
    return (price - leader_price if buy else leader_price - price) / point


def _begin(position: Position, held: int, scene: Scene, settings: CopySettings) -> Open | Ignore:
    def ignore(why: str) -> Ignore:
        return Ignore(position.ticket, position.symbol, why)

    symbol = scene.symbols.get(position.symbol)
    problem = ""
    if scene.first_look and not settings.copy_open:
        problem = "It was open before copying began."
    elif settings.symbols and position.symbol not in settings.symbols:
        problem = "Its symbol is not among those to copy."
    elif symbol is None:
        problem = "The follower's broker does not offer its symbol; map it by hand."
    elif not scene.first_look and position.age > settings.most_delay:
        problem = "It was too old when it was seen."
    elif held >= settings.most_positions:
        problem = "There are as many copied positions as allowed."
    if problem or symbol is None:
        return ignore(problem)
    buy = position.buy != settings.reverse
    worse = slippage_points(buy, position.price_open, symbol.ask if buy else symbol.bid, symbol.point)
    limit = settings.most_slippage_points
    if limit is not None and not scene.first_look and not settings.reverse and worse > limit:
        return ignore(f"The price was {worse:.0f} points worse than the leader's.")
    volume = volume_of(position, symbol, scene, settings)
    if volume <= 0:
        return ignore("Its volume by the rules is below the smallest that the follower may trade.")
    stop_loss, take_profit = _stops(position, settings)
    price = position.price_open
    return Open(position.ticket, symbol.name, buy, volume, stop_loss, take_profit, position.volume, price)


def _follow(  # noqa: PLR0911 - one for each thing that can be due
    link: Link, leader: Position | None, follower: Position | None, scene: Scene, settings: CopySettings
) -> Action | None:
    if follower is None:
        ended = link.follower_ticket in scene.closed_at_follower
        return Forget(link.leader_ticket, "It was closed at the follower.") if ended else None
    if leader is None:
        ended = link.leader_ticket in scene.closed_by_leader
        return Close(link.leader_ticket, follower.ticket, None) if ended else None
    if leader.buy != (follower.buy != settings.reverse):
        return Close(link.leader_ticket, follower.ticket, None)  # the leader has turned it round
    symbol = scene.symbols.get(leader.symbol)
    surplus = _surplus(link, leader, follower, symbol)
    if surplus >= follower.volume:
        return Close(link.leader_ticket, follower.ticket, None)
    if surplus > 0:
        return Close(link.leader_ticket, follower.ticket, surplus)
    wanted = _stops(leader, settings)
    if settings.copy_stops and wanted != (follower.stop_loss, follower.take_profit):
        return Modify(link.leader_ticket, follower.ticket, *wanted)
    return None


def _surplus(link: Link, leader: Position, follower: Position, symbol: SymbolFacts | None) -> Decimal:
    """How many lots the follower has too many, since the leader has closed a part."""
    if symbol is None or link.leader_volume <= 0 or leader.volume >= link.leader_volume:
        return Decimal(0)
    share = leader.volume / link.leader_volume
    # What is left has to be tradable: less than the smallest volume is rounded up to it.
    target = max(_floor(link.follower_volume * share, symbol.volume_step), symbol.volume_min)
    return max(Decimal(0), _floor(follower.volume - target, symbol.volume_step))


def _stops(position: Position, settings: CopySettings) -> tuple[Decimal, Decimal]:
    if not settings.copy_stops:
        return Decimal(0), Decimal(0)
    if settings.reverse:
        return position.take_profit, position.stop_loss
    return position.stop_loss, position.take_profit


def _by_risk(position: Position, symbol: SymbolFacts, scene: Scene, settings: CopySettings) -> Decimal:
    """Without a stop loss nobody knows the risk, so nothing is opened."""
    distance = abs(position.price_open - position.stop_loss)
    if position.stop_loss <= 0 or distance <= 0 or symbol.tick_size <= 0 or symbol.tick_value <= 0:
        return Decimal(0)
    loss_of_one_lot = distance / symbol.tick_size * symbol.tick_value
    return scene.follower_equity * settings.value / 100 / loss_of_one_lot


def _allowed(lots: Decimal, symbol: SymbolFacts) -> Decimal:
    rounded = _floor(min(lots, symbol.volume_max), symbol.volume_step)
    return rounded if rounded >= symbol.volume_min else Decimal(0)


def _floor(lots: Decimal, step: Decimal) -> Decimal:
    return (lots / step).to_integral_value(ROUND_DOWN) * step if step > 0 else lots


def too_late(begun: datetime, now: datetime, settings: CopySettings) -> bool:
    """Whether an opening that was written down and perhaps never sent may not be sent any more."""
    return now - begun > settings.most_delay
