"""Processes that somebody keeps, as a service manager does: what dies is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil


class Service:
    """One `python -m ...` that is started again when it dies, until it is stopped."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._argv = [sys.executable, "-m", *arguments]
        self._log = log
        self._environment = {**os.environ, **environment}
        self._ended = threading.Event()
        self._held = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        """Of the process that runs now, or that has died just now."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def hold(self) -> None:
        """Kill it, and do not start it again until `release`."""
        self._held.set()
        self._process.kill()
        self._process.wait()

    def release(self) -> None:
        self._held.clear()

    def stop(self) -> None:
        """Ask it to end, and force it when it does not."""
        self._ended.set()
        self._keeper.join()
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment)

    def _keep(self) -> None:
        while not self._ended.wait(0.1):
            if self._process.poll() is not None and not self._held.is_set():
                self._process = self._start()


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Signal processes; those that have ended meanwhile are left out."""
    for pid in pids:
        try:
            psutil.Process(pid).send_signal(number)
        except psutil.NoSuchProcess:
            continue
