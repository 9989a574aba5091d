"""Result structs as one packed byte string: numbers as C has them, texts joined by a zero byte.

    kind of struct (B), number of structs (I), all numbers column by column ("<q", "<d", "<?"), all texts

Columns instead of rows let `struct` and `zip` do the work for a hundred positions at once. A value that does not fit
(a number beyond 64 bits, a text with a zero byte) is not packed; the caller then sends it in the general form.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import STRUCT_CLASSES, Struct

HEADER: Final = struct.Struct("<BI")
_CODES: Final = {int: "q", float: "d", bool: "?"}
_NESTED: Final = "TradeRequest"
_REQUEST: Final = STRUCT_CLASSES[_NESTED]
MAX_STRUCTS: Final = 1 << 20
_REMEMBERED_TEXTS: Final = 256
_LONG_TEXTS: Final = 1024
_new: Final[Callable[..., Any]] = tuple.__new__  # the rows have the right length already


class PackingError(ValueError):
    """Bytes that are no packed structs."""


class Layout:
    """How one kind of struct is packed. A struct that ends with its request has the request's fields inline."""

    def __init__(self, number: int, name: str) -> None:
        fields = [kind for _, kind in STRUCTS[name]]
        self.nested = fields[-1] is tuple
        if self.nested:
            fields = fields[:-1] + [kind for _, kind in STRUCTS[_NESTED]]
        self.number = number
        self.cls = STRUCT_CLASSES[name]
        self.own = len(STRUCTS[name]) - self.nested
        self._numbers = [index for index, kind in enumerate(fields) if kind is not str]
        self._texts = [index for index, kind in enumerate(fields) if kind is str]
        self._codes = [_CODES[fields[index]] for index in self._numbers]
        self._one = struct.Struct("<" + "".join(self._codes))
        self._pick_numbers, self._pick_texts = _picker(self._numbers), _picker(self._texts)
        packed = self._numbers + self._texts
        places = [packed.index(index) for index in range(len(fields))]
        self._in_order = places == packed  # as in all but those with texts between their numbers
        self._restore = _picker(places[: self.own])
        self._restore_request = _picker(places[self.own :])
        self._packed = packed
        self._made: Callable[[Any], Struct] = partial(_new, self.cls)
        self._one_header = HEADER.pack(number, 1)
        self._one_body = struct.Struct(f"<{HEADER.size}s" + "".join(self._codes))
        self._one_numbers = struct.Struct(f"<{HEADER.size}x" + "".join(self._codes))

    def pack(self, rows: Sequence[tuple[Any, ...]]) -> bytes | None:
        """The structs as bytes; None when one of their values does not fit."""
        if len(rows) == 1:
            return self.pack_one(rows[0])
        if self.nested:
            rows = [(*row[:-1], *row[-1]) for row in rows]
        try:
            columns = list(zip(*rows, strict=True))
            numbers = struct.pack(
                self._format(len(rows)), *chain.from_iterable([columns[index] for index in self._numbers])
            )
            texts = list(chain.from_iterable([columns[index] for index in self._texts]))
            joined = "\0".join(texts)
            if texts and joined.count("\0") != len(texts) - 1:
                return None
            return HEADER.pack(self.number, len(rows)) + numbers + joined.encode()
        except (struct.error, TypeError, ValueError, IndexError):
            return None

    def pack_one(self, row: tuple[Any, ...]) -> bytes | None:
        """One struct as bytes; None when one of its values does not fit."""
        try:
            if not self._texts:
                return self._one_body.pack(self._one_header, *row)
            if self.nested:
                row = (*row[:-1], *row[-1])
            joined = "\0".join(self._pick_texts(row))
            if len(row) != len(self._packed) or joined.count("\0") >= len(self._texts):
                return None
            return self._one_body.pack(self._one_header, *self._pick_numbers(row)) + joined.encode()
        except (struct.error, TypeError, ValueError, IndexError):
            return None

    def unpack_one(self, data: bytes) -> Struct:
        """The struct that `pack_one` packed. Raises PackingError, struct.error, UnicodeError."""
        if not self._texts:
            return self._made(self._one_numbers.unpack(data))
        joined = data[self._one_numbers.size :]
        texts = _texts(joined) if len(joined) <= _LONG_TEXTS else _texts.__wrapped__(joined)
        if len(texts) != len(self._texts):
            raise PackingError("not a packed struct")
        values = self._one_numbers.unpack_from(data) + texts
        if self._in_order:
            return self._made(values)
        row = self._restore(values)
        return self._made((*row, _new(_REQUEST, self._restore_request(values))) if self.nested else row)

    def unpack(self, data: bytes, count: int) -> tuple[Struct, ...]:
        """The structs that follow a header. Raises PackingError, struct.error, UnicodeError."""
        if count == 1:
            return (self.unpack_one(data),)
        rows = self._rows(data, count)
        if self.nested:
            own = self.own
            rows = [(*row[:own], _new(_REQUEST, row[own:])) for row in rows]
        return tuple(map(self._made, rows))

    def _rows(self, data: bytes, count: int) -> Iterable[tuple[Any, ...]]:
        numbers = struct.unpack_from(self._format(count), data, HEADER.size)  # unlike Struct, it remembers formats
        rest = data[HEADER.size + count * self._one.size :]
        texts = str(rest, "utf-8").split("\0") if self._texts else []
        if len(texts) != len(self._texts) * count or (rest and not self._texts):
            raise PackingError("not packed structs")
        columns: list[Sequence[Any]] = [()] * len(self._packed)
        for place, index in enumerate(self._numbers):
            columns[index] = numbers[place * count : (place + 1) * count]
        for place, index in enumerate(self._texts):
            columns[index] = texts[place * count : (place + 1) * count]
        return zip(*columns, strict=True)

    def _format(self, count: int) -> str:
        return "<" + "".join([f"{count}{code}" for code in self._codes])


def _picker(indexes: list[int]) -> Callable[[Any], tuple[Any, ...]]:
    """Picks the items at `indexes`; by a slice where they follow each other, as in all structs without a request."""
    start = indexes[0] if indexes else 0
    following = slice(start, start + len(indexes))
    if indexes == list(range(following.start, following.stop)):
        return itemgetter(following)
    return itemgetter(*indexes)


@lru_cache(_REMEMBERED_TEXTS)
def _texts(joined: bytes) -> tuple[str, ...]:
    """The texts of one struct. A symbol's or an account's are the same in every answer, so the commonest are kept."""
    return tuple(str(joined, "utf-8").split("\0"))


_LAYOUTS: Final[tuple[Layout, ...]] = tuple(Layout(number, name) for number, name in enumerate(STRUCTS))
LAYOUTS: Final[Mapping[type, Layout]] = {layout.cls: layout for layout in _LAYOUTS}
"""By our own classes."""
_UNPACK_ONE: Final = tuple(layout.unpack_one for layout in _LAYOUTS)
_BY_NAME: Final = dict(zip(STRUCTS, _LAYOUTS, strict=True))


def layout_of(value: Any) -> Layout | None:
    """How a value is packed if it is a result struct, of ours or of the official package."""
    kind = type(value)
    layout = LAYOUTS.get(kind)
    if layout is not None:
        return layout
    return _BY_NAME.get(kind.__name__) if kind is not tuple and isinstance(value, tuple) else None


def unpack_one(data: bytes) -> Struct:
    """The struct in bytes that `Layout.pack_one` made. Raises PackingError."""
    try:
        return _UNPACK_ONE[data[0]](data)
    except (struct.error, IndexError, ValueError) as error:
        raise PackingError("not a packed struct") from error


def unpack(data: bytes) -> tuple[Struct, ...]:
    """The structs in bytes that `Layout.pack` made, at least one. Raises PackingError."""
    try:
        number, count = HEADER.unpack_from(data)
        if 0 < count <= MAX_STRUCTS:
            structs: tuple[Struct, ...] = _LAYOUTS[number].unpack(data, count)
            return structs
    except (struct.error, IndexError, ValueError) as error:
        raise PackingError("not packed structs") from error
    raise PackingError("not packed structs")
