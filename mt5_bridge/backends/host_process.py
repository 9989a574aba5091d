"""A child process that is asked one thing at a time over its standard pipes, and killed when it does not answer."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from mt5_bridge.backends.native_wire import HEADER, WireError, lengths, pack, unpack

log = logging.getLogger(__name__)

_LIVENESS_SECONDS: Final = 0.25
_LEAVE_SECONDS: Final = 2.0
_PIPE_BYTES: Final = 1 << 20
_LONGEST_LINE: Final = 400


class HostLostError(Exception):
    """The process has died or does not speak the protocol. What it was asked may have been done."""


class HostTimeoutError(Exception):
    """The process did not answer in time and was killed. What it was asked may have been done."""


Data = npt.NDArray[np.uint8]
Frame = tuple[bytearray, Data]
Answer = tuple[tuple[Any, ...], Data]
"""A message and its tail."""


class _Answers(Protocol):
    def frame(self, deadline: float) -> Frame:
        """Body and tail of the next frame. Raises HostLostError, WireError; HostTimeoutError at `deadline`
        (time.monotonic()).
        """

    def close(self) -> None:
        """Give the pipe back."""


class HostProcess:
    """One running host. Used from one thread only; after HostLostError or HostTimeoutError it is dead."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the command, with these variables beside those of this process. Raises OSError."""
        self._process = subprocess.Popen(  # noqa: S603 - the command is the operator's own configuration
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Read here and not inherited: Wine's Python does not start when one of the three is a file.
            stderr=subprocess.PIPE,
            bufsize=0,
            env=os.environ | environment,
            # Not in the worker's group: a signal to that group is not for the host. No console window on Windows.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._last_words = _LastWords(self._process.pid, self._process.stderr)
        self._requests = self._process.stdin
        # A worker that stops while a call hangs leaves nothing behind; one that is killed leaves the host to notice.
        atexit.register(self._process.kill)
        kind = _AnswersByThread if sys.platform == "win32" else _PolledAnswers
        self._answers: _Answers = kind(self._process, self._process.stdout)

    @property
    def pid(self) -> int:
        """The process, for logs and tests."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last line on its standard error, once it has died."""
        return self._last_words.line

    def ask(self, message: tuple[Any, ...], seconds: float) -> Answer:
        """Send one message and wait for its answer. Raises HostLostError, HostTimeoutError, and WireError for a
        message that cannot be sent; only then does the process live on.
        """
        frame = memoryview(pack(message))
        try:
            while frame:
                frame = frame[self._requests.write(frame) or 0 :]
        except OSError as error:
            self.kill()
            raise HostLostError("the process has closed its input") from error
        return self.receive(seconds)

    def receive(self, seconds: float) -> Answer:
        """Wait for a message. Raises HostLostError, HostTimeoutError."""
        deadline = time.monotonic() + seconds
        try:
            body, tail = self._answers.frame(deadline)
            return unpack(body), tail
        except WireError as error:
            self.kill()
            raise HostLostError(f"the process does not speak the protocol: {error}") from error
        except (HostLostError, HostTimeoutError):
            self.kill()
            raise

    def close(self) -> None:
        """Let the process end by itself, which it does when its input closes, and kill it when it does not."""
        with contextlib.suppress(OSError):
            self._requests.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process at once. Only this one: a terminal that its package has started goes on trading."""
        self._process.kill()
        self._process.wait()
        atexit.unregister(self._process.kill)
        with contextlib.suppress(OSError):
            self._requests.close()
        self._answers.close()


class _LastWords:
    """Puts what a host writes to standard error into our log."""

    def __init__(self, pid: int, pipe: Any) -> None:
        self._pid = pid
        self._pipe = pipe
        self._line = ""
        # A daemon: whatever the host has started may hold the pipe for ever.
        self._thread = threading.Thread(target=self._read, name="host-stderr", daemon=True)
        self._thread.start()

    @property
    def line(self) -> str:
        self._thread.join(_LIVENESS_SECONDS)
        return self._line

    def _read(self) -> None:
        with open(self._pipe.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                text = line.decode(errors="replace").strip()[:_LONGEST_LINE]
                if text:
                    self._line = text
                    log.warning("host process %d: %s", self._pid, text)
        self._pipe.close()


# The end of the pipe does not tell that the process has gone: whatever it has started may hold it, too (under Wine it
# always does). So both kinds look at the process from time to time while they wait.


class _PolledAnswers:
    """Where pipes can be polled."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: Any) -> None:
        self._process = process
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        if sys.platform == "linux":
            import fcntl

            # Sixteen times the usual size: big arrays come with fewer changes between the two processes.
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def frame(self, deadline: float) -> Frame:
        header = bytearray(HEADER.size)
        self._fill(memoryview(header), deadline)
        body, tail = _room(header)
        self._fill(memoryview(body), deadline)
        self._fill(tail.data, deadline)
        return body, tail

    def close(self) -> None:
        self._pipe.close()

    def _fill(self, rest: memoryview, deadline: float) -> None:
        while rest:
            self._wait(deadline)
            count = self._pipe.readinto(rest)
            if not count:
                raise HostLostError("the process has ended")
            rest = rest[count:]

    def _wait(self, deadline: float) -> None:
        while not self._poll.poll(1000 * max(0.0, min(_LIVENESS_SECONDS, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise HostTimeoutError
            if self._process.poll() is not None and not self._poll.poll(0):
                raise HostLostError("the process has ended")


class _AnswersByThread:
    """Where they cannot (Windows): a thread reads, and stays behind if the pipe stays open after the process."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: Any) -> None:
        self._process = process
        self._pipe = pipe
        self._frames: queue.SimpleQueue[Frame | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._read_all, name="host-answers", daemon=True).start()

    def frame(self, deadline: float) -> Frame:
        while True:
            try:
                frame = self._frames.get(timeout=max(0.0, min(_LIVENESS_SECONDS, deadline - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    raise HostTimeoutError from None
                if self._process.poll() is not None and self._frames.empty():
                    raise HostLostError("the process has ended") from None
                continue
            if isinstance(frame, Exception):
                raise frame
            return frame

    def close(self) -> None:
        pass  # the thread does it: closing a pipe that is being read waits for the reader

    def _read_all(self) -> None:
        header = bytearray(HEADER.size)
        try:
            while True:
                self._fill(memoryview(header))
                body, tail = _room(header)
                self._fill(memoryview(body))
                self._fill(tail.data)
                self._frames.put((body, tail))
        except (HostLostError, WireError) as error:
            self._frames.put(error)
        self._pipe.close()

    def _fill(self, rest: memoryview) -> None:
        while rest:
            try:
                count = self._pipe.readinto(rest)
            except OSError as error:
                raise HostLostError("the pipe is broken") from error
            if not count:
                raise HostLostError("the process has ended")
            rest = rest[count:]


def _room(header: bytearray) -> Frame:
    """Memory for the body and the tail that follow a header. Raises WireError."""
    body, tail = lengths(header)
    return bytearray(body), np.empty(tail, np.uint8)
