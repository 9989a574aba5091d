"""Unmodified scripts that say `import MetaTrader5 as mt5`, run against a terminal of the farm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mt5_bridge.client import MetaTrader5
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import SERVER, TOKEN, RunningWorker, StubBackend, eventually, running_worker, struct


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


def test_a_module_runs_with_its_arguments_stdin_and_exit_code(worker: RunningWorker) -> None:
    package = worker.folder / "library"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import sys, MetaTrader5 as mt5\n"
        "from library import part\n"
        "assert mt5.initialize()\n"
        "print(part.login(), sys.argv[1:], input())\n"
        "sys.exit(7)\n"
    )
    (package / "part.py").write_text("import MetaTrader5\ndef login(): return MetaTrader5.account_info().login\n")
    connection = str(connection_file(worker))
    command = [sys.executable, "-m", "mt5_bridge.cli", "run", "--connection", connection, "-m", "library", "a", "-m"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=worker.folder, input="typed\n"
    )
    assert (done.stdout, done.returncode) == ("5001 ['a', '-m'] typed\n", 7), done.stderr


def test_ctrl_c_reaches_the_script(worker: RunningWorker) -> None:
    script = worker.folder / "script.py"
    script.write_text(
        "import time\n"
        "try:\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "    raise SystemExit(5)\n"
    )
    command = [sys.executable, "-m", "mt5_bridge.cli", "run", str(script), "--connection", str(connection_file(worker))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as lines:
        assert lines.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        assert lines.read() == "interrupted\n"
    assert child.wait(30) == 5


def test_initialize_with_a_name_turns_to_another_terminal(worker: RunningWorker, backend: StubBackend) -> None:
    other_backend = StubBackend()
    other_backend.bid = 2.5
    with running_worker(other_backend) as other:
        script = worker.folder / "script.py"
        script.write_text(
            "import MetaTrader5 as mt5\n"
            "assert mt5.initialize(timeout=10000)\n"
            "first = mt5.symbol_info_tick('EURUSD').bid\n"
            "assert mt5.initialize('second', timeout=10000), mt5.last_error()\n"
            "print(first, mt5.symbol_info_tick('EURUSD').bid)\n"
            "assert mt5.initialize(path='first')\n"
            "print(mt5.symbol_info_tick('EURUSD').bid)\n"
        )
        connections = [f"--connection=first={connection_file(worker)}", f"--connection=second={connection_file(other)}"]
        command = [sys.executable, "-m", "mt5_bridge.cli", "run", str(script), *connections]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["1.1 2.5", "1.1"], done.stderr


def test_pandas_works_on_the_results(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(5, RATES_DTYPE)
    backend.bars["time"] = np.arange(5) * 60
    backend.positions.append(struct("TradePosition", ticket=7, symbol="EURUSD", volume=0.1))
    done = run(
        worker,
        """
        import MetaTrader5 as mt5, pandas as pd
        assert mt5.initialize()
        rates = pd.DataFrame(mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 5))
        rates["time"] = pd.to_datetime(rates["time"], unit="s")
        names = mt5.copy_rates_from_pos("EURUSD", 1, 0, 1).dtype.names
        print(rates["time"].iloc[-1], list(rates.columns) == list(names))
        positions = mt5.positions_get()
        frame = pd.DataFrame(list(positions), columns=positions[0]._asdict().keys())
        print(frame["ticket"].tolist(), frame["symbol"].tolist())
        print(pd.DataFrame([mt5.account_info()._asdict()])["login"].tolist())
        """,
    )
    assert done.stdout.splitlines() == ["1970-01-01 00:04:00 True", "[7] ['EURUSD']", "[5001]"], done.stderr
