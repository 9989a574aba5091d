"""Unmodified scripts that say `import MetaTrader5 as mt5`, run against a terminal of the farm."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.client import MetaTrader5
from tests.bridge_doubles import SERVER, TOKEN, RunningWorker, StubBackend, eventually, running_worker


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


@pytest.fixture
def worker(backend: StubBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        yield running


def connection_file(worker: RunningWorker, scope: str = "trade") -> Path:
    file = worker.folder / "connection.json"
    content = {"address": worker.address, "token_file": str(worker.folder / "token"), "scope": scope, "epoch": 7}
    file.write_text(json.dumps(content))
    return file


def run(worker: RunningWorker, source: str, *arguments: str, scope: str = "trade") -> subprocess.CompletedProcess[str]:
    script = worker.folder / "script.py"
    script.write_text(textwrap.dedent(source))
    connection = str(connection_file(worker, scope))
    command = [sys.executable, "-m", "mt5_bridge.cli", "run", str(script), "--connection", connection, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_script_sees_the_official_module(worker: RunningWorker) -> None:
    done = run(
        worker,
        """
        import sys
        import MetaTrader5 as mt5
        from MetaTrader5 import TIMEFRAME_M1
        print(mt5.account_info(), mt5.last_error())
        assert mt5.initialize(login=5001, server="MT5Farm-Demo"), mt5.last_error()
        print(mt5.account_info().login, mt5.__version__, TIMEFRAME_M1, sys.argv[1:], __name__)
        r = mt5.Buy("EURUSD", 0.1)
        print(r.retcode, len(mt5.positions_get(symbol="EURUSD")), mt5.Close("EURUSD"), mt5.positions_get())
        mt5.shutdown()
        print(mt5.positions_get(), mt5.last_error())
        sys.exit(7)
        """,
        "one",
        "--two",
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "None (-10004, 'No IPC connection')",
        "5001 5.0.6231 1 ['one', '--two'] __main__",
        "10009 1 True ()",
        "None (-10004, 'No IPC connection')",
    ]
    assert done.returncode == 7


def test_a_failing_script_shows_its_traceback_and_is_exit_code_1(worker: RunningWorker) -> None:
    done = run(worker, "raise RuntimeError('mine')")
    assert done.returncode == 1
    assert "RuntimeError: mine" in done.stderr


def test_refusals_look_like_the_packages_own(worker: RunningWorker, backend: StubBackend) -> None:
    done = run(
        worker,
        """
        import MetaTrader5 as mt5
        print(mt5.initialize(login=1), mt5.last_error())
        assert mt5.initialize()
        print(mt5.login(2), mt5.last_error())
        r = mt5.order_send(action=1, symbol="EURUSD", volume=0.1, type=0, price=1.1)
        print(r.retcode, r.comment, r.request.volume)
        """,
        scope="read",
    )
    assert done.stdout.splitlines() == [
        "False (-6, 'Terminal: Authorization failed')",
        "False (-6, 'Terminal: Authorization failed')",
        "10017 Trade disabled 0.1",
    ]
    assert not backend.sent


def test_a_broken_link_looks_like_a_dead_terminal_and_initialize_mends_it(backend: StubBackend) -> None:
    with running_worker(backend) as worker:
        mt5 = MetaTrader5(worker.address, token=TOKEN, epoch=7, principal="user:1", initialized=False, compat=True)
        assert mt5.last_error() == (0, "")
        assert mt5.initialize(server=SERVER)
        worker.stop()
        assert mt5.account_info() is None
        assert mt5.last_error() == (-10002, "IPC recv failed")
        assert mt5.initialize(timeout=100) is False
        assert mt5.last_error()[0] == -10003
        again = RunningWorker(backend, worker.folder)
        again.start()
        eventually(lambda: mt5.initialize(timeout=1000))
        assert mt5.account_info() is not None
        mt5.close()
        again.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "usage"),
        (["fly"], 2, "no command 'fly'"),
        (["run", "x.py"], 2, "needs a script and --connection"),
        (["run", "nothing.py", "--connection", "c.json"], 2, "no script nothing.py"),
        (["worker", "--config", "nothing.json"], 2, "cannot read nothing.json"),
    ],
)
def test_bad_arguments_are_one_clear_sentence(arguments: list[str], code: int, text: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mt5_bridge.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_an_unreachable_or_refusing_worker_is_exit_code_1(worker: RunningWorker) -> None:
    (worker.folder / "token").write_text("another-secret-000000")
    done = run(worker, "print('ran')")
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad_token" in done.stderr
    assert "another-secret" not in done.stderr
