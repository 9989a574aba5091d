"""Return codes of trade requests, the comment beside each, and the refusal that carries one."""

from __future__ import annotations

from enum import IntEnum

from mt5_bridge.contract import RETCODE_COMMENTS


class Retcode(IntEnum):
    """The codes that this broker gives."""

    CHECKED = 0
    REQUOTE = 10004
    DONE = 10009
    TIMEOUT = 10012
    INVALID = 10013
    INVALID_VOLUME = 10014
    INVALID_PRICE = 10015
    INVALID_STOPS = 10016
    TRADE_DISABLED = 10017
    MARKET_CLOSED = 10018
    NO_MONEY = 10019
    PRICE_OFF = 10021
    INVALID_EXPIRATION = 10022
    NO_CHANGES = 10025
    SERVER_DISABLES_AT = 10026
    CLIENT_DISABLES_AT = 10027
    FROZEN = 10029
    INVALID_FILL = 10030
    CONNECTION = 10031
    LIMIT_ORDERS = 10033
    LIMIT_VOLUME = 10034
    INVALID_ORDER = 10035
    POSITION_CLOSED = 10036
    INVALID_CLOSE_VOLUME = 10038
    LIMIT_POSITIONS = 10040
    LONG_ONLY = 10042
    SHORT_ONLY = 10043
    CLOSE_ONLY = 10044

    @property
    def comment(self) -> str:
        """The text that a terminal puts beside the code; where none is known, the name in words."""
        return RETCODE_COMMENTS.get(self.value, self.name.replace("_", " ").capitalize())

    @property
    def from_server(self) -> bool:
        """Whether the server refuses with this code, with request id and prices, or the terminal before it."""
        return self in {Retcode.REQUOTE, Retcode.MARKET_CLOSED, Retcode.PRICE_OFF}


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request that is not carried out."""

    def __init__(self, retcode: Retcode) -> None:
        super().__init__(retcode.comment)
        self.retcode = retcode
