"""COM objects: made, called by their tables, released; texts and variants that they take."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from node_agent.windows import api
from node_agent.windows.api import declare, failure

_IN_PROCESS: Final = 1
_TEXT: Final = 8
_QUERY_INTERFACE, _RELEASE = 0, 2


class Variant(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint16), ("reserved", ctypes.c_uint16 * 3), ("value", ctypes.c_void_p),
                ("more", ctypes.c_void_p))  # fmt: skip


ole32: Final = api.system.WinDLL("ole32")
oleaut32: Final = api.system.WinDLL("oleaut32")
_initialize = declare(ole32, "CoInitializeEx", ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong)
_uninitialize = declare(ole32, "CoUninitialize", None)
_create = declare(
    ole32, "CoCreateInstance",
    ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
)  # fmt: skip
_make_text = declare(oleaut32, "SysAllocStringLen", ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint)
_text_length = declare(oleaut32, "SysStringLen", ctypes.c_uint, ctypes.c_void_p)
_free_text = declare(oleaut32, "SysFreeString", None, ctypes.c_void_p)


@contextmanager
def text(value: str) -> Iterator[ctypes.c_void_p]:
    """A BSTR, wiped and freed afterwards: it may hold the password."""
    size = len(value.encode("utf-16-le"))
    made = ctypes.c_void_p(_make_text(value, size // 2))
    try:
        yield made
    finally:
        ctypes.memset(made, 0, size)
        _free_text(made)


@contextmanager
def variant(value: str | None) -> Iterator[Variant]:
    if value is None:
        yield Variant()
        return
    with text(value) as made:
        yield Variant(kind=_TEXT, value=made)


class Object:
    """A COM object, released at the end of a `with`. Methods are named by their places in its table."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __enter__(self) -> Object:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """It must not be used afterwards."""
        table = ctypes.cast(self._pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
        api.system.WINFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(table[_RELEASE] or 0)(self._pointer)

    def call(self, name: str, place: int, *arguments: Any) -> None:
        """Raises WindowsCallError with the HRESULT."""
        table = ctypes.cast(self._pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
        kinds = [type(argument) for argument in arguments]
        result = api.system.WINFUNCTYPE(ctypes.c_long, ctypes.c_void_p, *kinds)(table[place] or 0)(
            self._pointer, *arguments
        )
        if result < 0:
            raise failure(name, result & 0xFFFFFFFF)

    def get(self, name: str, place: int, *arguments: Any) -> Object:
        """A call whose last parameter takes another object."""
        found = ctypes.c_void_p()
        self.call(name, place, *arguments, ctypes.pointer(found))
        return Object(found.value or 0)

    def as_argument(self) -> ctypes.c_void_p:
        """For a method that takes an object."""
        return ctypes.c_void_p(self._pointer)

    def number(self, name: str, place: int, kind: Any, *arguments: Any) -> int:
        """A call whose last parameter takes a number of this type."""
        found = kind()
        self.call(name, place, *arguments, ctypes.pointer(found))
        return int(found.value)

    def text(self, name: str, place: int) -> str:
        """A call whose only parameter takes a text."""
        found = ctypes.c_void_p()
        self.call(name, place, ctypes.pointer(found))
        try:
            return ctypes.wstring_at(found.value or 0, _text_length(found)) if found.value else ""
        finally:
            _free_text(found)

    def other(self, name: str, interface: uuid.UUID) -> Object:
        """The same object, by another of its interfaces."""
        return self.get(name, _QUERY_INTERFACE, ctypes.c_char_p(interface.bytes_le))


@contextmanager
def initialized() -> Iterator[None]:
    """COM is opened for the thread and closed again."""
    ready = _initialize(None, 0) >= 0  # not when the thread uses COM in another way already, which serves as well
    try:
        yield
    finally:
        if ready:
            _uninitialize()


def created(name: str, kind: uuid.UUID, interface: uuid.UUID) -> Object:
    """A new object of a class. Raises WindowsCallError."""
    made = ctypes.c_void_p()
    result = _create(kind.bytes_le, None, _IN_PROCESS, interface.bytes_le, ctypes.byref(made))
    if result < 0:
        raise failure(f"CoCreateInstance {name}", result & 0xFFFFFFFF)
    return Object(made.value or 0)
