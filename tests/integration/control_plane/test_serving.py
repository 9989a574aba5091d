"""The control plane as a process: commands, TLS, taken ports, and a quick clean end."""

from __future__ import annotations

import io
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from control_plane.cli import main
from node_agent.protocol.encoding import to_text
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import ENROLL_PATH, WATCH_PATH, EnrollRequest, EnrollResponse
from tests.deployments import Deployment
from tests.ports import free_ports
from tests.postgres import APPLICATION, OWNER
from tests.unit.control_plane.world import PASSWORD, certificate_request

pytestmark = pytest.mark.both_databases
PATIENCE = 60.0


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", "from control_plane.cli import main; main()", *map(str, arguments)]


@dataclass(frozen=True)
class Finished:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Finished:
    """A command in this process: starting one anew costs seconds of imports."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["mt5farm", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return Finished(int(end.value.code or 0), out.getvalue(), err.getvalue())


def add_user(data: Path, email: str, role: str = "trader") -> dict[str, str]:
    """A user for whose address the operator vouches; what they sign in with."""
    with mock.patch.object(sys, "stdin", io.StringIO(f"{PASSWORD}\n")):
        assert run("users", "add", email, "--name", "A", "--role", role, "--data", data).returncode == 0
    return {"email": email, "password": PASSWORD}


@dataclass
class Served:
    process: subprocess.Popen[str]
    data: Path
    url: str
    agent_port: int

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@pytest.fixture
def served(tmp_path: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The process and the commands of the test find the same servers."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    port, agent_port, log = free_ports(1), free_ports(1), tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command("serve", "--data", tmp_path / "data", "--port", str(port), "--agent-port", str(agent_port)),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    deadline = time.monotonic() + PATIENCE
    while '"event": "ready"' not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield Served(process, tmp_path / "data", f"http://127.0.0.1:{port}", agent_port)
    process.kill()
    process.wait(PATIENCE)


def enrolment(served: Served) -> dict[str, Any]:
    made = run("enroll-token", "--data", served.data, "--name", "node-1")
    assert made.returncode == 0, made.stderr
    answer: dict[str, Any] = json.loads(made.stdout)
    return answer


def enrol(invitation: dict[str, Any]) -> tuple[httpx.Client, Ed25519PrivateKey, EnrollResponse]:
    identity, sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    request = EnrollRequest(
        token=invitation["token"],
        name="x",
        identity_key=to_text(identity.public_key().public_bytes_raw()),
        sealing_key=to_text(sealing.public_key().public_bytes_raw()),
        gateway_csr=certificate_request(),
        gateway_address="127.0.0.1:1",
        runtimes=["simulated"],
        slots=1,
        platform="test",
    )
    http = httpx.Client(
        base_url=invitation["url"], verify=ssl.create_default_context(cadata=invitation["ca_pem"]), timeout=PATIENCE
    )
    answer = http.post(ENROLL_PATH, content=request.model_dump_json(), headers={"Content-Type": "application/json"})
    return http, identity, EnrollResponse.model_validate_json(answer.content)


def test_it_ends_quickly_with_streams_and_long_polls_open(served: Served) -> None:
    browser = httpx.Client(base_url=served.url, headers={"Origin": served.url}, timeout=PATIENCE)
    body = add_user(served.data, "a@example.com")
    assert browser.post("/api/v1/auth/sign-in", json=body).status_code == 200
    http, identity, welcome = enrol(enrolment(served))
    with browser.stream("GET", "/api/v1/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry: ")
        signature = sign_request(identity, welcome.node_id, "GET", WATCH_PATH, b"", time.time())
        target = f"{WATCH_PATH}?generation=99"
        with ThreadPoolExecutor(1) as pool:
            watch = pool.submit(http.get, target, headers={"Authorization": signature})
            served.end()
            fields = {line.partition(":")[0] for line in lines if line}
            assert fields <= {"event", "id", "data"}, "it ends as a whole answer, and is not cut off"
            assert watch.result(PATIENCE).json() == {"generation": 1}
    assert served.process.returncode == 0
    http.close()
    browser.close()


def test_the_agent_api_speaks_tls_of_the_farm_only(served: Served) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{served.agent_port}/healthz", timeout=PATIENCE)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://127.0.0.1:{served.agent_port}/healthz", timeout=PATIENCE)
    trust = ssl.create_default_context(cadata=enrolment(served)["ca_pem"])
    url = f"https://127.0.0.1:{served.agent_port}"
    assert httpx.get(f"{url}/healthz", verify=trust, timeout=PATIENCE).json() == {"status": "ok"}
    assert httpx.get(f"{url}/api/v1/accounts", verify=trust, timeout=PATIENCE).status_code == 404


def test_what_was_asked_is_in_no_log(served: Served) -> None:
    assert httpx.get(f"{served.url}/api/v1/nothing?secret=told", timeout=PATIENCE).status_code == 404
    served.end()
    lines = [json.loads(line) for line in (served.data.parent / "log").read_text().splitlines()]
    (told,) = [line for line in lines if line["event"] == "request"]
    assert (told["path"], told["status"]) == ("/api/v1/nothing", 404)
    assert "secret" not in json.dumps(lines)


def test_a_taken_port_is_one_clear_sentence(served: Served) -> None:
    port = served.url.rpartition(":")[2]
    arguments = command("serve", "--data", served.data, "--port", port, "--agent-port", str(free_ports(1)))
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].startswith(f"mt5farm: port {port} on 127.0.0.1 is taken")
    assert "Traceback" not in second.stderr


def test_a_killed_control_plane_starts_again_with_everything(served: Served) -> None:
    with httpx.Client(base_url=served.url, headers={"Origin": served.url}, timeout=PATIENCE) as browser:
        browser.post("/api/v1/auth/sign-in", json=add_user(served.data, "a@example.com"))
        invitation = enrolment(served)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait(PATIENCE)
        again = subprocess.Popen(
            command(
                "serve",
                "--data",
                served.data,
                "--port",
                served.url.rpartition(":")[2],
                "--agent-port",
                str(served.agent_port),
            ),
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not answers(served.url):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert browser.get("/api/v1/me").json()["email"] == "a@example.com"
            http, _, welcome = enrol(invitation)
            http.close()
            assert welcome.ca_pem == invitation["ca_pem"]
        finally:
            again.terminate()
            again.wait(PATIENCE)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=PATIENCE).is_success
    except httpx.HTTPError:
        return False


class TestCommands:
    def test_the_owner_of_a_database_makes_its_tables(
        self, empty_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MT5FARM_DATABASE_URL", empty_postgres_url.replace(OWNER, APPLICATION))
        assert "mt5farm migrate" in run("enroll-token", "--data", tmp_path, "--name", "n").stderr
        with monkeypatch.context() as owners:
            owners.setenv("MT5FARM_DATABASE_OWNER_URL", empty_postgres_url)
            migrated = run("migrate", "--data", tmp_path)
            assert migrated.returncode == 0, migrated.stderr
        assert run("enroll-token", "--data", tmp_path, "--name", "n").returncode == 0

    def test_openapi_is_printed(self) -> None:
        assert json.loads(run("openapi").stdout)["openapi"].startswith("3.1")

    def test_a_broker_server_is_added_and_corrected(self, tmp_path: Path) -> None:
        for address in ("127.0.0.1:1", "127.0.0.1:2"):
            added = run(
                "broker-server",
                "add",
                "--data",
                tmp_path,
                "--name",
                "S",
                "--company",
                "C",
                "--simulated-address",
                address,
            )
            assert added.returncode == 0, added.stderr

    def test_a_folder_that_cannot_be_used_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        failed = run("enroll-token", "--data", tmp_path / "file" / "x", "--name", "n")
        assert (failed.returncode, failed.stdout) == (2, "")
        assert failed.stderr.startswith("mt5farm: the data folder")

    def test_a_setting_that_is_wrong_is_named(self, tmp_path: Path) -> None:
        with mock.patch("control_plane.cli.configure_logs"):
            failed = run("serve", "--data", tmp_path, "--port", "99999")
        assert failed.returncode == 2
        assert "port" in failed.stderr.splitlines()[-1]
