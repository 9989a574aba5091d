"""The Task Scheduler through its COM interface: the user's password goes from memory to memory, to no command line."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from node_agent.windows import api
from node_agent.windows.api import declare, failure
from node_agent.windows.port import WindowsCallError

_CLASS: Final = uuid.UUID("0f87369f-a4e5-4cfc-bd3e-73e6154572dd")
_INTERFACE: Final = uuid.UUID("2faba4c7-4da9-4013-9697-20cc3fd40f85")
_IN_PROCESS: Final = 1
_NOT_FOUND: Final = 0x80070002
_PATH_NOT_FOUND: Final = 0x80070003
_ALREADY_THERE: Final = 0x800700B7
_CREATE_OR_UPDATE: Final = 6
_LOGON_INTERACTIVE_OR_PASSWORD: Final = 6
_USE_SESSION: Final = 4
_TEXT: Final = 8

# Places in the tables of ITaskService, ITaskFolder and IRegisteredTask; all derive from IDispatch, which has seven.
_RELEASE: Final = 2
_SERVICE_GET_FOLDER, _SERVICE_CONNECT = 7, 10
_FOLDER_CREATE_FOLDER, _FOLDER_GET_TASK, _FOLDER_DELETE_TASK, _FOLDER_REGISTER = 11, 13, 15, 16
_TASK_RUN_EX, _TASK_XML = 13, 20


class _Variant(ctypes.Structure):
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
def _text(value: str) -> Iterator[ctypes.c_void_p]:
    """A BSTR, wiped and freed afterwards: it may hold the password."""
    size = len(value.encode("utf-16-le"))
    made = ctypes.c_void_p(_make_text(value, size // 2))
    try:
        yield made
    finally:
        ctypes.memset(made, 0, size)
        _free_text(made)


@contextmanager
def _variant(value: str | None) -> Iterator[_Variant]:
    if value is None:
        yield _Variant()
        return
    with _text(value) as made:
        yield _Variant(kind=_TEXT, value=made)


class _Object:
    """A COM object, released at the end of a `with`."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __enter__(self) -> _Object:
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

    def get(self, name: str, place: int, *arguments: Any) -> _Object:
        """A call whose last parameter takes another object."""
        found = ctypes.c_void_p()
        self.call(name, place, *arguments, ctypes.pointer(found))
        return _Object(found.value or 0)


@contextmanager
def _service() -> Iterator[_Object]:
    """Connected to this machine's scheduler. COM is opened for the thread and closed again."""
    ready = _initialize(None, 0) >= 0  # not when the thread uses COM in another way already, which serves as well
    try:
        made = ctypes.c_void_p()
        result = _create(_CLASS.bytes_le, None, _IN_PROCESS, _INTERFACE.bytes_le, ctypes.byref(made))
        if result < 0:
            raise failure("CoCreateInstance TaskScheduler", result & 0xFFFFFFFF)
        with _Object(made.value or 0) as service:
            service.call("ITaskService.Connect", _SERVICE_CONNECT, *(_Variant() for _ in range(4)))
            yield service
    finally:
        if ready:
            _uninitialize()


@contextmanager
def _folder(service: _Object, path: str) -> Iterator[_Object]:
    with _text(path) as name, service.get("ITaskService.GetFolder", _SERVICE_GET_FOLDER, name) as folder:
        yield folder


def register(path: str, xml: str, user: str, password: str) -> None:
    """Raises WindowsCallError."""
    parent, _, name = path.rpartition("\\")
    with _service() as service:
        if parent:
            _ensure_folder(service, parent)
        with (
            _folder(service, parent or "\\") as folder,
            _text(name) as title,
            _text(xml) as definition,
            _variant(user) as who,
            _variant(password) as secret,
            folder.get(
                "ITaskFolder.RegisterTask", _FOLDER_REGISTER, title, definition, ctypes.c_long(_CREATE_OR_UPDATE),
                who, secret, ctypes.c_int(_LOGON_INTERACTIVE_OR_PASSWORD), _Variant(),
            ),
        ):  # fmt: skip
            return


def _ensure_folder(service: _Object, path: str) -> None:
    try:
        with _folder(service, "\\") as root, _text(path) as name:
            made = root.get("ITaskFolder.CreateFolder", _FOLDER_CREATE_FOLDER, name, _Variant())
            made.release()
    except WindowsCallError as error:
        if error.code != _ALREADY_THERE:
            raise


def xml_of(path: str) -> str | None:
    """Raises WindowsCallError."""
    with _task(path) as task:
        if task is None:
            return None
        text = ctypes.c_void_p()
        task.call("IRegisteredTask.Xml", _TASK_XML, ctypes.pointer(text))
        try:
            return ctypes.wstring_at(text.value or 0, _text_length(text))
        finally:
            _free_text(text)


def run(path: str, session: int | None) -> None:
    """Raises WindowsCallError; also when there is no such task."""
    with _task(path) as task:
        if task is None:
            raise failure("ITaskFolder.GetTask", _NOT_FOUND)
        flags = 0 if session is None else _USE_SESSION
        with _text("") as nobody:
            running = task.get(
                "IRegisteredTask.RunEx",
                _TASK_RUN_EX,
                _Variant(),
                ctypes.c_long(flags),
                ctypes.c_long(session or 0),
                nobody,
            )
            running.release()


def remove(path: str) -> None:
    """Raises WindowsCallError."""
    parent, _, name = path.rpartition("\\")
    with _task(path) as task:
        if task is None:
            return
    with _service() as service, _folder(service, parent or "\\") as folder, _text(name) as title:
        folder.call("ITaskFolder.DeleteTask", _FOLDER_DELETE_TASK, title, ctypes.c_long(0))


@contextmanager
def _task(path: str) -> Iterator[_Object | None]:
    parent, _, name = path.rpartition("\\")
    with _service() as service:
        try:
            with _folder(service, parent or "\\") as folder, _text(name) as title:
                found = folder.get("ITaskFolder.GetTask", _FOLDER_GET_TASK, title)
        except WindowsCallError as error:
            if error.code not in {_NOT_FOUND, _PATH_NOT_FOUND}:
                raise
            yield None
            return
        with found as task:
            yield task
