"""A trade request with all of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mt5_bridge.contract import STRUCTS
from mt5_bridge.simulated.engine.model import Reason
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.structs import OrderCheckResult, Struct, TradeRequest, unchecked

_API_FIELDS = tuple(name for name, _ in STRUCTS["TradeRequest"])
_KNOWN = frozenset(_API_FIELDS)
_REASON = int(Reason.EXPERT)


class Request(NamedTuple):
    """The fields of a request in the package's order; a missing one is 0, 0.0 or '' (rule I2)."""

    action: int = 0
    magic: int = 0
    order: int = 0
    symbol: str = ""
    volume: float = 0.0
    price: float = 0.0
    stoplimit: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    deviation: int = 0
    type: int = 0
    type_filling: int = 0
    type_time: int = 0
    expiration: int = 0
    comment: str = ""
    position: int = 0
    position_by: int = 0
    reason: int = _REASON
    """Not of the API: where the request comes from (rule R4)."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Request:
        """A request from checked fields; those that it does not have are ignored."""
        known = fields if fields.keys() <= _KNOWN else {name: fields[name] for name in _API_FIELDS if name in fields}
        return cls(**known)

    def refused_check(self, code: Retcode) -> Struct:
        """What `order_check` gives where the account was not even looked at: a code, and all numbers 0 (rule J4)."""
        return OrderCheckResult((int(code), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, code.comment, self.struct()))

    def struct(self) -> Struct:
        """The echo that results carry."""
        return unchecked(TradeRequest, self[: len(_API_FIELDS)])
