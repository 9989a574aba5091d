"""What the commands remember of each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane import cli, serving
from control_plane.container import Farm


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Farm]:
    """The farms that `serve` was about to run."""
    farms: list[Farm] = []

    def serve(farm: Farm) -> None:
        farms.append(farm)
        farm.stop()

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(cli, "configure_logs", lambda: None)
    return farms


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def url_of_token(data: Path) -> str:
    return str(json.loads(run("enroll-token", "--data", str(data), "--name", "n").splitlines()[-1])["url"])


@pytest.mark.usefixtures("served")
def test_a_token_leads_to_what_was_last_served(tmp_path: Path) -> None:
    run("serve", "--data", str(tmp_path), "--agent-host", "farm.example", "--agent-port", "9443")
    assert url_of_token(tmp_path) == "https://farm.example:9443"


@pytest.mark.usefixtures("served")
def test_a_damaged_memory_keeps_no_farm_from_starting(tmp_path: Path) -> None:
    (tmp_path / "served.json").write_text("")
    assert url_of_token(tmp_path) == "https://127.0.0.1:8443"
    run("serve", "--data", str(tmp_path), "--agent-port", "9443")
    assert url_of_token(tmp_path) == "https://127.0.0.1:9443"


def test_settings_from_the_environment_hold_where_the_command_line_says_nothing(
    tmp_path: Path, served: list[Farm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT5FARM_PORT", "9000")
    monkeypatch.setenv("MT5FARM_HOST", "0.0.0.0")
    run("serve", "--data", str(tmp_path), "--host", "127.0.0.2")
    assert (served[0].settings.port, served[0].settings.host) == (9000, "127.0.0.2")
