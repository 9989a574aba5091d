"""What can go wrong between a client and its terminal.

ConnectionError
    BridgeLost        the link broke; whether a trade was carried out is not known
Exception
    BridgeError       the bridge said no; nothing was done (see `code`, `retryable`)
"""

from __future__ import annotations


class BridgeError(Exception):
    """The bridge refused. `code` is stable, `message` safe to show, `retryable` says whether trying again can help."""

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retryable = retryable


class BridgeLost(ConnectionError):  # noqa: N818 - the name says what happened
    """The link to the terminal's worker broke. The object is of no more use; make a new one.

    A trade that was under way may have been carried out: ask `outcome(client_order_id)` of a new connection.
    """
