"""The Task Scheduler through its COM interface: the user's password goes from memory to memory, to no command line."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from node_agent.windows.api import failure
from node_agent.windows.com import Object, Variant, created, initialized, text, variant
from node_agent.windows.port import WindowsCallError

_CLASS: Final = uuid.UUID("0f87369f-a4e5-4cfc-bd3e-73e6154572dd")
_INTERFACE: Final = uuid.UUID("2faba4c7-4da9-4013-9697-20cc3fd40f85")
_NOT_FOUND: Final = 0x80070002
_PATH_NOT_FOUND: Final = 0x80070003
_ALREADY_THERE: Final = 0x800700B7
_CREATE_OR_UPDATE: Final = 6
_LOGON_INTERACTIVE_OR_PASSWORD: Final = 6
_USE_SESSION: Final = 4

# Places in the tables of ITaskService, ITaskFolder and IRegisteredTask; all derive from IDispatch, which has seven.
_SERVICE_GET_FOLDER, _SERVICE_CONNECT = 7, 10
_FOLDER_CREATE_FOLDER, _FOLDER_GET_TASK, _FOLDER_DELETE_TASK, _FOLDER_REGISTER = 11, 13, 15, 16
_TASK_RUN_EX, _TASK_XML = 13, 20


@contextmanager
def _service() -> Iterator[Object]:
    """Connected to this machine's scheduler."""
    with initialized(), created("TaskScheduler", _CLASS, _INTERFACE) as service:
        service.call("ITaskService.Connect", _SERVICE_CONNECT, *(Variant() for _ in range(4)))
        yield service


@contextmanager
def _folder(service: Object, path: str) -> Iterator[Object]:
    with text(path) as name, service.get("ITaskService.GetFolder", _SERVICE_GET_FOLDER, name) as folder:
        yield folder


def register(path: str, xml: str, user: str, password: str) -> None:
    """Raises WindowsCallError."""
    parent, _, name = path.rpartition("\\")
    with _service() as service:
        if parent:
            _ensure_folder(service, parent)
        with (
            _folder(service, parent or "\\") as folder,
            text(name) as title,
            text(xml) as definition,
            variant(user) as who,
            variant(password) as secret,
            folder.get(
                "ITaskFolder.RegisterTask", _FOLDER_REGISTER, title, definition, ctypes.c_long(_CREATE_OR_UPDATE),
                who, secret, ctypes.c_int(_LOGON_INTERACTIVE_OR_PASSWORD), Variant(),
            ),
        ):  # fmt: skip
            return


def _ensure_folder(service: Object, path: str) -> None:
    try:
        with _folder(service, "\\") as root, text(path) as name:
            made = root.get("ITaskFolder.CreateFolder", _FOLDER_CREATE_FOLDER, name, Variant())
            made.release()
    except WindowsCallError as error:
        if error.code != _ALREADY_THERE:
            raise


def xml_of(path: str) -> str | None:
    """Raises WindowsCallError."""
    with _task(path) as task:
        if task is None:
            return None
        return task.text("IRegisteredTask.Xml", _TASK_XML)


def run(path: str, session: int | None) -> None:
    """Raises WindowsCallError; also when there is no such task."""
    with _task(path) as task:
        if task is None:
            raise failure("ITaskFolder.GetTask", _NOT_FOUND)
        flags = 0 if session is None else _USE_SESSION
        with text("") as nobody:
            running = task.get(
                "IRegisteredTask.RunEx",
                _TASK_RUN_EX,
                Variant(),
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
    with _service() as service, _folder(service, parent or "\\") as folder, text(name) as title:
        folder.call("ITaskFolder.DeleteTask", _FOLDER_DELETE_TASK, title, ctypes.c_long(0))


@contextmanager
def _task(path: str) -> Iterator[Object | None]:
    parent, _, name = path.rpartition("\\")
    with _service() as service:
        try:
            with _folder(service, parent or "\\") as folder, text(name) as title:
                found = folder.get("ITaskFolder.GetTask", _FOLDER_GET_TASK, title)
        except WindowsCallError as error:
            if error.code not in {_NOT_FOUND, _PATH_NOT_FOUND}:
                raise
            yield None
            return
        with found as task:
            yield task
