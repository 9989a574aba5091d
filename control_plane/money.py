"""Money as text: exact, with at least two decimals and no needless zeros after them."""

from __future__ import annotations

from decimal import Decimal


def money_text(amount: Decimal) -> str:
    text = f"{amount:.8f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    text = f"{whole}.{fraction.ljust(2, '0')}"
    return text if text.strip("-0.") else text.removeprefix("-")
