"""Ends containers and what runs in them, and says how they ended.

A container's handle names its first process as this machine sees it. So whether it lives is told without Docker, and it
can be killed while Docker's daemon hangs: when its first process dies, the kernel ends all others with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import docker
import structlog
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from node_agent.process import Children, Ending, Handle, is_alive

_log = structlog.get_logger(__name__)

CONTAINER: Final = "container"
"""Kind of a handle whose container lives as long as its first process: a terminal's."""
EXEC: Final = "container_exec"
"""Kind of a handle of a further process in a container: a bridge worker's."""
OUT_OF_MEMORY: Final = 79
"""Exit code with which the image says that the memory limit has ended the terminal."""
_API_SECONDS: Final = 10
_ENDING_SECONDS: Final = 1.0
_GRACE_MARGIN: Final = 5

DockerProblem = (DockerException, RequestException)
"""What calls of the SDK raise when the daemon refuses or is not there."""


class DockerEngine:
    """Implements `Engine` for CONTAINER and EXEC. Thread-safe; talks to Docker when it is first needed."""

    def __init__(self, connect: Callable[[], docker.DockerClient] | None = None) -> None:
        self._connect = connect or (lambda: docker.from_env(timeout=_API_SECONDS))
        self._children = Children()

    @cached_property
    def client(self) -> docker.DockerClient:
        """Raises one of DockerProblem."""
        return self._connect()

    def stop(self, handle: Handle, grace: float) -> None:
        """The first process hands SIGTERM on to the program it has started."""
        try:
            self._children.stop(handle, grace)
        except PermissionError:
            self._by_docker(handle, "stop", timeout=int(grace) + _GRACE_MARGIN)

    def kill(self, handle: Handle) -> None:
        try:
            self._children.kill(handle)
        except PermissionError:
            self._by_docker(handle, "kill")

    def reap(self) -> None:
        """Nothing: Docker does it."""

    def ending(self, handle: Handle) -> Ending:
        """Waits a second at most until Docker has noticed as well."""
        try:
            state = self._final_state(handle)
        except DockerProblem as error:
            _log.warning("ending_unknown", kind=handle.kind, id=handle.slot.id, error=str(error))
            return Ending()
        code = state.get("ExitCode")
        if code is None:
            return Ending()
        out_of_memory = code == OUT_OF_MEMORY or bool(code and state.get("OOMKilled"))
        return Ending(128 - code if code > 128 else code, out_of_memory)

    def _final_state(self, handle: Handle) -> Mapping[str, Any]:
        deadline = time.monotonic() + _ENDING_SECONDS
        while True:
            state: Mapping[str, Any]
            if handle.kind == EXEC:
                state = self.client.api.exec_inspect(handle.facts["exec"])
            else:
                state = self.client.api.inspect_container(handle.facts["container"])["State"]
            if not state["Running"]:
                return state
            if time.monotonic() > deadline:
                return {}
            time.sleep(0.05)

    def _by_docker(self, handle: Handle, verb: str, **options: Any) -> None:
        """For an agent that may use Docker but not signal its containers."""
        if handle.kind != CONTAINER:
            raise TimeoutError(f"process {handle.pid} belongs to another user and cannot be ended alone")
        try:
            getattr(self.client.api, verb)(handle.facts["container"], **options)
        except NotFound:
            return
        except APIError as error:
            if is_alive(handle):
                raise TimeoutError(f"Docker did not {verb} the container: {error.explanation}") from error
        except DockerProblem as error:
            raise TimeoutError(f"Docker did not {verb} the container: {error}") from error
