"""docker-compose.yml is whole: what a service refers to is there, and no secret is written into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from control_plane.config import Settings
from tests.compose_file import ENTRYPOINT, FILE, compose

SERVICES = compose()["services"]
FARMS_OWN = {"api", "worker", "reconciler", "migrate", "node", "broker", "demo"}
WANTED = {*FARMS_OWN, "postgres", "redis", "proxy", "prometheus", "grafana", "mail"}


def test_the_services_of_a_whole_farm_are_there() -> None:
    assert set(SERVICES) >= WANTED


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    assert ("image" in service) or ("build" in service)
    for other, condition in service.get("depends_on", {}).items():
        assert other in SERVICES
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (FILE.parent / source).exists() if source.startswith(".") else source in compose()["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_setting_of_a_service_is_one_that_the_farm_knows(name: str) -> None:
    given = {key for key in SERVICES[name].get("environment", {}) if key.startswith("MT5FARM_")}
    assert given <= {f"MT5FARM_{field.upper()}" for field in Settings.model_fields}


def test_no_password_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY|URL", key) and key != "MT5FARM_PUBLIC_URL":
                assert str(value).startswith("/secrets/"), (name, key)


def test_only_the_proxy_is_open_to_the_network() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("proxy") == ["80:80", "443:443"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_image_starts_what_the_file_takes_for_granted() -> None:
    text = (FILE.parent / "Dockerfile").read_text(encoding="utf-8")
    assert f'ENTRYPOINT ["{ENTRYPOINT[0]}"]' in text
    own = {
        volume.split(":")[1]
        for service in SERVICES.values()
        if "build" in service
        for volume in service.get("volumes", [])
    }
    made = re.search(r"mkdir -m 700 (.*?) && chown", text)
    assert made is not None
    assert own == set(made[1].split())


def test_docker_compose_takes_it() -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None or subprocess.run([*command, "version"], check=False).returncode:
            continue
        done = subprocess.run([*command, "-f", FILE, "config", "-q"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
        pytest.fail("docker compose is missing")
    pytest.skip("needs docker compose")
