"""What one bot may do on the account that it shares with its owner and with other bots. Pure but for `Pace`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.auth import BOT_PREFIX
from mt5_bridge.contract import CONSTANTS
from mt5_bridge.refusals import RefusedError

ORDERS_PER_MINUTE: Final = 120
_MINUTE: Final = 60.0
_MAY_OPEN: Final = frozenset(CONSTANTS[f"TRADE_ACTION_{name}"] for name in ("DEAL", "PENDING", "MODIFY"))
"""A waiting order that is moved to the market opens a position as a new one would."""
_LARGEST_MAGIC: Final = 2**63 - 1


@dataclass(frozen=True)
class BotRule:
    """`magic` is stamped on all that the bot sends, whatever it says itself, so that its trades are told apart."""

    magic: int
    opens: bool = True
    """False lets it close what it has, and open nothing."""
    sends: bool = True
    """False for a bot on paper: nothing of it reaches the broker."""
    orders_per_minute: int = ORDERS_PER_MINUTE

    def stamped(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**request, "magic": self.magic}

    def refusal(self, request: Mapping[str, Any], *, reduces: bool) -> tuple[str, str] | None:
        """Why the request must not be sent, as (code, safe message), or None."""
        if not self.sends:
            return "bot_paper", "this bot trades on paper; nothing of it is sent to the broker"
        if not self.opens and request.get("action") in _MAY_OPEN and not reduces:
            return "bot_paused", "this bot is paused: it may close what it holds and open nothing"
        return None


def parse_bot_rules(data: object) -> Mapping[str, BotRule] | None:
    """Read the rules of a worker's bots by their ids; None means that bots are not told apart. Raises ValueError."""
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise ValueError("guard.bots must be null or an object")  # noqa: TRY004 - one error for bad configuration
    return {str(bot_id): _rule(each) for bot_id, each in data.items()}


def _rule(data: object) -> BotRule:
    try:
        rule = BotRule(**data)  # type: ignore[arg-type]  # what it is not is found out here
    except TypeError as error:
        raise ValueError("guard.bots holds something that is no rule") from error
    asked: tuple[object, ...] = rule.opens, rule.sends
    numbers = rule.magic, rule.orders_per_minute
    if not all(type(each) is int and 0 <= each <= _LARGEST_MAGIC for each in numbers):
        raise ValueError("guard.bots needs magic and orders_per_minute as numbers of 0 or more")
    if not all(isinstance(each, bool) for each in asked):
        raise ValueError("guard.bots needs opens and sends as true or false")
    return rule


def bot_of(principal: str) -> str | None:
    """The id of the bot that this is, None for anyone else."""
    return principal.removeprefix(BOT_PREFIX) if principal.startswith(BOT_PREFIX) else None


def own_order_id(principal: str, order_id: str) -> bool:
    """Whether a client order id is one that this principal may use and ask for: a bot's begin with its own."""
    bot_id = bot_of(principal)
    return bot_id is None or order_id.startswith(f"{bot_id}:")


def rule_for(principal: str, rules: Mapping[str, BotRule] | None) -> BotRule | None:
    """The rule of a bot, None for anyone else. Raises RefusedError for a bot that the worker was not told of."""
    bot_id = bot_of(principal)
    if bot_id is None or rules is None:
        return None
    rule = rules.get(bot_id)
    if rule is None:
        raise RefusedError("bot_unknown", "this terminal has not been told of the bot yet")
    return rule


def touches_others(request: Mapping[str, Any], held: tuple[Any, ...], magic: int) -> bool:
    """Whether a request names a position or order that is not of this magic number. `held` is what it names."""
    named = [request[name] for name in ("position", "position_by", "order") if request.get(name)]
    own = {each.ticket for each in held if each.magic == magic}
    return any(ticket not in own for ticket in named)


class Pace:
    """How many orders each bot has sent within the last minute. On the executor's caller: one thread."""

    def __init__(self) -> None:
        self._sent: dict[str, deque[float]] = {}

    def admit(self, principal: str, most: int, now: float) -> bool:
        """Count one more order at `now` (seconds of any clock), unless there were `most` within a minute."""
        sent = self._sent.setdefault(principal, deque())
        while sent and sent[0] <= now - _MINUTE:
            sent.popleft()
        if len(sent) >= most:
            return False
        sent.append(now)
        return True
