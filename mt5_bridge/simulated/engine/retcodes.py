"""Return codes of trade requests, the comment beside each, and the refusal that carries one."""

from __future__ import annotations

from enum import IntEnum

from mt5_bridge.contract import RETCODE_COMMENTS


class Retcode(IntEnum):
    """All codes that there are. Those that only a fault brings are named in `faults.py`."""

    CHECKED = 0
    REQUOTE = 10004
    REJECT = 10006
    CANCEL = 10007
    PLACED = 10008
    DONE = 10009
    DONE_PARTIAL = 10010
    ERROR = 10011
    TIMEOUT = 10012
    INVALID = 10013
    INVALID_VOLUME = 10014
    INVALID_PRICE = 10015
    INVALID_STOPS = 10016
    TRADE_DISABLED = 10017
    MARKET_CLOSED = 10018
    NO_MONEY = 10019
    PRICE_CHANGED = 10020
    PRICE_OFF = 10021
    INVALID_EXPIRATION = 10022
    ORDER_CHANGED = 10023
    TOO_MANY_REQUESTS = 10024
    NO_CHANGES = 10025
    SERVER_DISABLES_AT = 10026
    CLIENT_DISABLES_AT = 10027
    LOCKED = 10028
    FROZEN = 10029
    INVALID_FILL = 10030
    CONNECTION = 10031
    ONLY_REAL = 10032
    LIMIT_ORDERS = 10033
    LIMIT_VOLUME = 10034
    INVALID_ORDER = 10035
    POSITION_CLOSED = 10036
    INVALID_CLOSE_VOLUME = 10038
    CLOSE_ORDER_EXIST = 10039
    LIMIT_POSITIONS = 10040
    REJECT_CANCEL = 10041
    LONG_ONLY = 10042
    SHORT_ONLY = 10043
    CLOSE_ONLY = 10044
    FIFO_CLOSE = 10045
    HEDGE_PROHIBITED = 10046

    @property
    def comment(self) -> str:
        """The text that a terminal puts beside the code; where none is known, the name in words."""
        return _COMMENTS[self]

    @property
    def from_server(self) -> bool:
        """Whether the server refuses with this code, with request id and prices, or the terminal before it."""
        return self in _FROM_SERVER


_COMMENTS = {code: RETCODE_COMMENTS.get(code.value, code.name.replace("_", " ").capitalize()) for code in Retcode}
_FROM_SERVER = frozenset(
    {
        Retcode.REQUOTE,
        Retcode.REJECT,
        Retcode.CANCEL,
        Retcode.ERROR,
        Retcode.TIMEOUT,
        Retcode.MARKET_CLOSED,
        Retcode.PRICE_CHANGED,
        Retcode.PRICE_OFF,
        Retcode.ORDER_CHANGED,
        Retcode.TOO_MANY_REQUESTS,
        Retcode.LOCKED,
        Retcode.ONLY_REAL,
        Retcode.REJECT_CANCEL,
    }
)


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request that is not carried out."""

    def __init__(self, retcode: Retcode) -> None:
        super().__init__(retcode.comment)
        self.retcode = retcode
