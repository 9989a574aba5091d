"""What the operator may ask of the broker: accounts, money, symbols, books, faults, the market's pace."""

from __future__ import annotations

import time
from typing import Any

from mt5_bridge import codec
from mt5_bridge.simulated.broker import Broker
from mt5_bridge.simulated.engine.model import Reason
from mt5_bridge.simulated.faults import FaultError, FaultPlan, FaultRule
from mt5_bridge.simulated.link import RemoteError
from mt5_bridge.simulated.pace import VERBS as PACE_VERBS
from mt5_bridge.simulated.pace import change_pace

UNSUPPORTED = (-7, "Terminal: Unsupported function")
NOT_FOUND = (-4, "Terminal: Not found")
INVALID = -2


class Operations:
    """The operator's verbs on one broker; those that concern links are the server's own."""

    def __init__(self, broker: Broker, faults: FaultPlan) -> None:
        self._broker = broker
        self._faults = faults

    def do(self, verb: str, arguments: Any) -> Any:
        """Answer one request, encoded. Raises RemoteError."""
        if verb in PACE_VERBS:
            return change_pace(self._broker, verb, arguments, time.monotonic())
        match verb, arguments:
            case "create_account", (int(login), str(password), float(balance), str(currency), int(leverage), str(name)):
                return self._broker.create_account(login, password, balance, currency, leverage, name)
            case "configure_account", (int(login), changes):
                self._account(login)
                return self._try(self._broker.configure_account, login, codec.decode(changes))
            case "book_money", (int(login), float(amount), str(comment), int(kind)):
                self._account(login)
                return self._broker.book_money(login, amount, comment, kind)
            case "set_symbol", (str(name), changes):
                return self._try(self._broker.set_symbol, name, codec.decode(changes))
        return self._for_owners(verb, arguments)

    def _for_owners(self, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "investor_password", (int(login), str(password)):
                self._account(login)
                return self._broker.set_investor_password(login, password)
            case "trade", (int(login), request, int(reason)):
                self._account(login)
                return codec.encode(self._try(self._broker.trade, login, codec.decode(request), Reason(reason)))
            case "split", (str(name), float(ratio)):
                return self._try(self._broker.split, name, ratio)
        return self._read(verb, arguments)

    def _read(self, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "deals", (int(login),):
                return codec.encode(tuple(self._account(login).deals))
            case "orders", (int(login),):
                account, quotes = self._account(login), self._broker.book.quotes
                active = [order.active(quotes.get(order.symbol)) for order in account.orders.values()]
                return codec.encode((*account.history, *active))
        return self._on_faults(verb, arguments)

    def _on_faults(self, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "add_fault", (rule,):
                return self._try(lambda data: self._faults.add(FaultRule.of(data)), codec.decode(rule))
            case "clear_faults", (int(number),):
                return self._faults.clear(number)
            case "faults", ():
                return codec.encode(self._faults.status())
        raise RemoteError(*UNSUPPORTED)

    def _account(self, login: int) -> Any:
        account = self._broker.book.accounts.get(login)
        if account is None:
            raise RemoteError(*NOT_FOUND)
        return account

    @staticmethod
    def _try(action: Any, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except (FaultError, ValueError) as error:
            raise RemoteError(INVALID, str(error)) from error
