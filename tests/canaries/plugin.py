"""Plants secrets for a whole run of the tests, and fails each test that lets one out.

Searched are the logs and outputs of every test, answers to its requests, arguments and environment of what it starts,
what it leaves in its folders, its Postgres databases before they are dropped, and all that Redis is told. The number of
places goes into the summary, from all processes that share the run.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from tests.canaries.marks import planted
from tests.canaries.watch import Watch

WATCH = pytest.StashKey[Watch]()
_FOLDERS = pytest.StashKey[set[Path]]()
_REPORT = "canaries"


def pytest_configure(config: pytest.Config) -> None:
    watch = config.stash[WATCH] = Watch()
    config.stash[_FOLDERS] = set()
    _log_as_in_life()
    patch = pytest.MonkeyPatch()
    _show_answers(watch, patch)
    _show_processes(watch, patch)
    ends = ExitStack()
    ends.enter_context(planted())
    ends.callback(patch.undo)
    config.add_cleanup(ends.close)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Workers(watch))


def _log_as_in_life() -> None:
    """The library's own way to show errors, which the farm does not use, adds the variables of each function."""
    *before, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, renderer])


def _show_answers(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    send = httpx.Client.send

    @wraps(send)
    def shown(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(self, request, **options)
        if response.is_stream_consumed:
            watch.answer(response)
        return response

    patch.setattr(httpx.Client, "send", shown)


def _show_processes(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen.__init__

    @wraps(start)
    def shown(self: Any, args: Any, *more: Any, **options: Any) -> None:
        watch.process(args, options.get("env") or os.environ)
        start(self, args, *more, **options)

    patch.setattr(subprocess.Popen, "__init__", shown)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    item.config.stash[WATCH].children(os.getpid())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """By the end of its teardown all of a test is written: what is found then is its failure."""
    report = yield
    if call.when != "teardown":
        return report
    watch = item.config.stash[WATCH]
    for title, content in report.sections:
        watch.text(f"logs: {title}", content.encode(errors="replace"))
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None:
        item.config.stash[_FOLDERS].add(folder)
        watch.folder(folder)
    if watch.found and report.outcome == "passed":
        report.outcome = "failed"
        report.longrepr = "planted secrets got out: " + "; ".join(dict.fromkeys(watch.found))
        watch.leaked += len(watch.found)
        watch.found.clear()
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What several tests shared, and was written after the last of them."""
    watch, seen = session.config.stash[WATCH], session.config.stash[_FOLDERS]
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    base = None if factory is None else factory._basetemp
    for folder in sorted(base.iterdir()) if base is not None and base.is_dir() else []:
        if folder not in seen and not folder.is_symlink() and not folder.name.startswith("popen-gw"):
            watch.folder(folder)
    watch.leaked += len(watch.found)
    if watch.found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_REPORT] = (dict(watch.searched), watch.leaked, watch.found)


class _Workers:
    """Adds up what the processes of a run have searched, and says it in the end."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        searched, leaked, found = getattr(node, "workeroutput", {}).get(_REPORT, ({}, 0, []))
        self._watch.searched += Counter(searched)
        self._watch.leaked += leaked
        self._watch.found += found

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        places = ", ".join(f"{count} {name}" for name, count in sorted(self._watch.searched.items()))
        terminalreporter.write_line(f"planted secrets: {self._watch.leaked} found in {places}")
        for each in dict.fromkeys(self._watch.found):
            terminalreporter.write_line(f"  {each}")
