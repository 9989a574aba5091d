"""Trading on paper: orders are filled by the bot itself at the terminal's live prices, and never sent.

Market orders, stops and closing are played; pending orders are refused. What is held outlives the process in a file.
Costs other than the spread are not played.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mt5_bridge.client import MetaTrader5
from mt5_bridge.contract import CONSTANTS, STRUCTS
from mt5_bridge.replacing import put_in_place
from mt5_bridge.strategies.bot_files import BotConfig
from mt5_bridge.structs import STRUCT_CLASSES

FILE: Final = "paper.json"
_DEAL, _SLTP = CONSTANTS["TRADE_ACTION_DEAL"], CONSTANTS["TRADE_ACTION_SLTP"]
_DONE, _NO_PRICES = CONSTANTS["TRADE_RETCODE_DONE"], CONSTANTS["TRADE_RETCODE_PRICE_OFF"]
_INVALID, _CLOSED = CONSTANTS["TRADE_RETCODE_INVALID"], CONSTANTS["TRADE_RETCODE_POSITION_CLOSED"]
_PAUSED: Final = CONSTANTS["TRADE_RETCODE_CLIENT_DISABLES_AT"]
_KEPT_ANSWERS: Final = 500


Tell = Callable[[str, Mapping[str, Any]], None]
"""A sentence about a fill for the user, and the fill itself as the farm's statistics want it."""


def open_terminal(config: BotConfig, tell: Tell, token: str, **options: Any) -> MetaTrader5:
    """The bot's terminal, the real one or that on paper. Raises BridgeError, BridgeLost."""
    kind = PaperTerminal if config.paper else MetaTrader5
    principal = f"bot:{config.bot_id}"
    api = kind(config.worker, token=token, scope="trade", epoch=config.epoch, principal=principal, **options)
    if isinstance(api, PaperTerminal):
        api.paper_file, api.tell = config.status_file.with_name(FILE), tell
    return api


class PaperTerminal(MetaTrader5):
    """A terminal whose positions are the bot's own, on paper. `tell` is told of each fill."""

    paper_file: Path = Path(FILE)
    tell: Tell = print

    def positions_get(self, *args: Any, **kwargs: Any) -> Any:
        """The paper positions, at the present prices."""
        del args
        book = self._book()
        if self._fill_stops(book):
            self._keep(book)
        wanted = [each for each in book["positions"] if _matches(each, kwargs)]
        return tuple(self._position(each) for each in wanted)

    def positions_total(self, *args: Any, **kwargs: Any) -> Any:
        """How many paper positions there are."""
        return len(self.positions_get(*args, **kwargs))

    def orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """None are ever pending on paper."""
        del args, kwargs
        return ()

    def orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """None are ever pending on paper."""
        del args, kwargs
        return 0

    def outcome(self, client_order_id: str) -> dict[str, Any] | None:
        """What became of a paper order."""
        known = self._book()["answers"].get(client_order_id)
        return None if known is None else {"state": "done" if known["retcode"] == _DONE else "refused"}

    def give_up(self, client_order_id: str) -> dict[str, Any]:
        """A paper order is never on its way."""
        return self.outcome(client_order_id) or {"state": "not_executed"}

    def send_once(self, client_order_id: str, request: Mapping[str, Any], trace: str = "") -> Any:
        """Fill it, unless that was done before."""
        del trace
        book = self._book()
        known = book["answers"].get(client_order_id)
        if known is None:
            known = self._fill(book, dict(request))
            book["answers"][client_order_id] = known
            book["answers"] = dict(list(book["answers"].items())[-_KEPT_ANSWERS:])
            self._keep(book)
        return _result(known, request)

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """Fill a market order, or move stops."""
        request = args[0] if args else kwargs.get("request")
        if not isinstance(request, Mapping):
            return None
        book = self._book()
        answer = self._fill(book, dict(request))
        self._keep(book)
        return _result(answer, request)

    def _fill(  # noqa: PLR0911 - one for each answer
        self, book: dict[str, Any], request: dict[str, Any]
    ) -> dict[str, Any]:
        if request.get("action") == _SLTP:
            held = _held(book, request.get("position"))
            if held is None:
                return {"retcode": _CLOSED}
            held.update(sl=float(request.get("sl", 0.0)), tp=float(request.get("tp", 0.0)))
            return {"retcode": _DONE}
        volume = float(request.get("volume", 0.0))
        if request.get("action") != _DEAL or request.get("type") not in (0, 1) or not volume > 0:
            return {"retcode": _INVALID}
        tick = self.symbol_info_tick(request.get("symbol"))
        if tick is None:
            return {"retcode": _NO_PRICES}
        price = float(tick.ask if request["type"] == 0 else tick.bid)
        if not request.get("position"):
            if not self.describe().get("may_open", True):
                return {"retcode": _PAUSED, "comment": "this bot is paused or finishes; it opens nothing"}
            return self._open(book, request, volume, price, int(tick.time))
        held = _held(book, request["position"])
        if held is None or held["type"] == request["type"] or volume > held["volume"] + 1e-9:
            return {"retcode": _CLOSED if held is None else _INVALID}
        return self._close(book, held, volume, price, int(tick.time), "closed")

    def _open(
        self, book: dict[str, Any], request: dict[str, Any], volume: float, price: float, time: int
    ) -> dict[str, Any]:
        book["ticket"] += 1
        position = {
            "ticket": book["ticket"], "symbol": request["symbol"], "type": request["type"], "volume": volume,
            "price_open": price, "sl": float(request.get("sl", 0.0)), "tp": float(request.get("tp", 0.0)),
            "magic": int(request.get("magic", 0)), "time": time, "comment": str(request.get("comment", ""))[:31],
        }  # fmt: skip
        book["positions"].append(position)
        side = "buy" if request["type"] == 0 else "sell"
        words = f"paper: {side} {volume:g} {request['symbol']} at {price:g}"
        self.tell(words, _fill_of(position, volume, price, time, is_opening=True))
        return {"retcode": _DONE, "price": price, "volume": volume, "order": book["ticket"], "deal": book["ticket"]}

    def _close(
        self, book: dict[str, Any], held: dict[str, Any], volume: float, price: float, time: int, why: str
    ) -> dict[str, Any]:
        profit = self.order_calc_profit(held["type"], held["symbol"], volume, held["price_open"], price) or 0.0
        held["volume"] = round(held["volume"] - volume, 8)
        if held["volume"] <= 0:
            book["positions"].remove(held)
        book["trades"] += 1
        book["profit"] = round(book["profit"] + profit, 2)
        book["ticket"] += 1
        self.tell(
            f"paper: {why} {volume:g} {held['symbol']} at {price:g}, profit {profit:.2f};"
            f" {book['trades']} trades and {book['profit']:.2f} in all",
            _fill_of(held, volume, price, time, is_opening=False, profit=profit),
        )
        return {"retcode": _DONE, "price": price, "volume": volume, "order": book["ticket"], "deal": book["ticket"]}

    def _fill_stops(self, book: dict[str, Any]) -> bool:
        filled = False
        for held in list(book["positions"]):
            tick = self.symbol_info_tick(held["symbol"]) if held["sl"] or held["tp"] else None
            if tick is not None:
                price = float(tick.bid if held["type"] == 0 else tick.ask)
                why = stop_hit(held, price)
                if why is not None:
                    self._close(book, held, held["volume"], price, int(tick.time), why)
                    filled = True
        return filled

    def _position(self, held: Mapping[str, Any]) -> Any:
        tick = self.symbol_info_tick(held["symbol"])
        price = held["price_open"] if tick is None else float(tick.bid if held["type"] == 0 else tick.ask)
        profit = self.order_calc_profit(held["type"], held["symbol"], held["volume"], held["price_open"], price)
        values = {**held, "identifier": held["ticket"], "price_current": price, "profit": profit or 0.0}
        fields = STRUCTS["TradePosition"]
        return STRUCT_CLASSES["TradePosition"](values.get(name, kind()) for name, kind in fields)

    def _book(self) -> dict[str, Any]:
        book: dict[str, Any] = {"ticket": 0, "positions": [], "answers": {}, "trades": 0, "profit": 0.0}
        with suppress(OSError, ValueError, TypeError):
            book |= json.loads(self.paper_file.read_text(encoding="utf-8"))
        return book

    def _keep(self, book: Mapping[str, Any]) -> None:
        draft = self.paper_file.with_suffix(".new")
        draft.write_text(json.dumps(book), encoding="utf-8")
        put_in_place(draft, self.paper_file)


def _fill_of(
    held: Mapping[str, Any], volume: float, price: float, time: int, *, is_opening: bool, profit: float = 0.0
) -> dict[str, Any]:
    """Time is the broker's clock (s), profit the account's currency."""
    buys = (held["type"] == 0) is is_opening
    return {
        "position": held["ticket"],
        "entry": "in" if is_opening else "out",
        "side": "buy" if buys else "sell",
        "symbol": held["symbol"],
        "volume": volume,
        "price": price,
        "profit": round(profit, 2),
        "time": time,
    }


def stop_hit(held: Mapping[str, Any], price: float) -> str | None:
    """Whether the price at which a position would be closed has reached one of its stops, and which."""
    direction = 1 if held["type"] == 0 else -1
    if held["sl"] and direction * (price - held["sl"]) <= 0:
        return "stopped out of"
    if held["tp"] and direction * (price - held["tp"]) >= 0:
        return "took the profit of"
    return None


def _held(book: Mapping[str, Any], ticket: object) -> dict[str, Any] | None:
    return next((each for each in book["positions"] if each["ticket"] == ticket), None)


def _matches(held: Mapping[str, Any], only: Mapping[str, Any]) -> bool:
    return all(name not in only or held[name] == only[name] for name in ("symbol", "ticket"))


def _result(answer: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
    values = {"comment": "paper", **answer}
    sent = STRUCT_CLASSES["TradeRequest"](request.get(name, kind()) for name, kind in STRUCTS["TradeRequest"])
    fields = STRUCTS["OrderSendResult"]
    return STRUCT_CLASSES["OrderSendResult"](
        sent if name == "request" else values.get(name, kind()) for name, kind in fields
    )
