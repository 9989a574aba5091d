"""The terminal's Market Watch: which symbols are selected, remembered across restarts (rules D7-D9)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


class MarketWatch:
    """Selected symbols in their order. A fresh terminal shows every symbol that the broker has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[str, ...] = ()
        self._selected: list[str] | None = None
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = None  # never saved, or cut by a crash: start afresh
        if isinstance(stored, list) and all(isinstance(name, str) for name in stored):
            self._selected = stored

    @property
    def selected(self) -> tuple[str, ...]:
        """Names in the order of the Market Watch."""
        return self._known if self._selected is None else tuple(self._selected)

    def offer(self, symbols: Iterable[str]) -> None:
        """The broker's symbols, told at each login."""
        self._known = tuple(symbols)

    def knows(self, name: str) -> bool:
        """Whether the broker has the symbol."""
        return name in self._known

    def set(self, name: str, *, enable: bool) -> None:
        """Add a known symbol at the end, or take it out."""
        chosen = list(self.selected)
        if enable == (name in chosen):
            return
        if enable:
            chosen.append(name)
        else:
            chosen.remove(name)
        self._selected = chosen
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(chosen), encoding="utf-8")
        temporary.replace(self._path)
