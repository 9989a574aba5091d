"""Public libraries that import MetaTrader5, installed for the tests alone, and a farm terminal to run them against."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mt5_bridge.simulated.admin import BrokerAdmin
from tests.bridge_doubles import eventually
from tests.orders.account import PASSWORD, SERVER, AccountLine
from tests.orders.faults import FaultPlan
from tests.orders.run import Broker

PIP_SECONDS = 240


@dataclass(frozen=True)
class Farm:
    """A terminal of the farm with its account, and what a script needs to reach it."""

    line: AccountLine
    admin: BrokerAdmin
    connection: Path

    def run(self, library: Path, script: Path) -> subprocess.CompletedProcess[str]:
        """Run a script with a library, by the command that traders use."""
        command = [sys.executable, "-m", "mt5_bridge.cli", "run", str(script), "--connection", str(self.connection)]
        path = os.pathsep.join((str(library), *filter(None, (os.environ.get("PYTHONPATH"),))))
        password = self.connection.with_name("password.token")
        password.write_text(PASSWORD)
        arguments = [str(self.line.login), SERVER, str(password)]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg"},
            cwd=self.line.folder,
        )


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    """A simulated broker, a terminal and a worker."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as name:
        folder = Path(name)
        broker = Broker(folder / "broker")
        admin = BrokerAdmin(broker.address, broker.admin_token)
        (folder / "a").mkdir()
        line = AccountLine(folder / "a", admin.create_account(password=PASSWORD), broker.address, FaultPlan(0, {}))
        try:
            eventually(line.connected, 30)
            connection = folder / "connection.json"
            content = {"address": f"unix:{line.folder}/w", "token_file": str(line.folder / "token"), "epoch": 1}
            connection.write_text(json.dumps(content | {"scope": "trade"}))
            yield Farm(line, admin, connection)
        finally:
            line.close()
            broker.kill()


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Installs packages, and not what they depend on, into a folder that the next run finds again."""
    cache = request.config.cache
    assert cache is not None

    def install(*packages: str) -> Path:
        target = cache.mkdir("libraries") / "-".join(packages[0].split("==")) / f"py{sys.version_info[1]}"
        if (target / "complete").exists():
            return target
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
        command = [*pip, "--no-deps", "--only-binary=:all:", "--upgrade", "--target", str(target), *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot install {packages[0]}: {done.stderr.strip().splitlines()[-1]}")
        (target / "complete").touch()
        return target

    return install
