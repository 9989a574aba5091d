"""Buy, Sell and Close as the package has them (A15, A16)."""

from __future__ import annotations

from typing import Any

import pytest

from mt5_bridge.client import orders
from tests.bridge_doubles import struct


class Api:
    def __init__(self, *retcodes: int | None) -> None:
        self.retcodes = list(retcodes)
        self.sent: list[dict[str, Any]] = []
        self.tick: Any = struct("Tick", bid=1.1, ask=1.2)
        self.positions: Any = (struct("TradePosition", ticket=5, type=0, volume=0.3),)

    def symbol_info_tick(self, symbol: str) -> Any:
        return self.tick

    def positions_get(self, **filters: Any) -> Any:
        return self.positions

    def order_send(self, request: dict[str, Any]) -> Any:
        self.sent.append(request)
        retcode = self.retcodes.pop(0)
        return None if retcode is None else struct("OrderSendResult", retcode=retcode)


def test_buy_takes_the_ask_and_tries_again_while_the_price_moves() -> None:
    api = Api(10004, 10021, 10009)
    assert orders.deal(api, 0, "EURUSD", 0.1, None, None, None).retcode == 10009
    assert [request["price"] for request in api.sent] == [1.2] * 3
    assert api.sent[0] == {
        "action": 1,
        "symbol": "EURUSD",
        "volume": 0.1,
        "type": 0,
        "price": 1.2,
        "deviation": 10,
    }


def test_it_gives_up_after_ten_tries_and_at_once_with_a_price_of_your_own() -> None:
    api = Api(*[10004] * 11)
    assert orders.deal(api, 1, "EURUSD", 0.1, None, "c", 5).retcode == 10004
    assert (len(api.sent), api.sent[0]["position"], api.sent[0]["comment"]) == (10, 5, "c")
    orders.deal(api, 1, "EURUSD", 0.1, 1.5, None, None)
    assert len(api.sent) == 11


def test_no_tick_is_an_attribute_error() -> None:
    api = Api(10009)
    api.tick = None
    with pytest.raises(AttributeError):
        orders.deal(api, 0, "EURUSD", 0.1, None, None, None)


@pytest.mark.parametrize(
    ("retcodes", "expected"),
    [((10009, 10009), True), ((10009, 10018), "Partially"), ((10018, 10018), False), ((10009, None), None)],
)
def test_close_says_how_much_it_closed(retcodes: tuple[int | None, ...], expected: object) -> None:
    api = Api(*retcodes)
    api.positions = (*api.positions, struct("TradePosition", ticket=6, type=1, volume=0.2))
    assert orders.close(api, "EURUSD", None, None) == expected
    assert api.sent[0] | {"type": 1, "position": 5, "volume": 0.3, "price": 1.1} == api.sent[0]
    assert api.sent[1] | {"type": 0, "position": 6, "volume": 0.2, "price": 1.2} == api.sent[1]


def test_close_without_positions_is_false_and_with_an_error_a_type_error() -> None:
    api = Api()
    api.positions = ()
    assert orders.close(api, "EURUSD", None, None) is False
    api.positions = None
    with pytest.raises(TypeError):
        orders.close(api, "EURUSD", None, None)
