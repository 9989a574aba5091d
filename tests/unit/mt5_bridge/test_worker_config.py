"""A configuration that cannot work is told in one sentence, without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.addresses import Address, parse_address
from mt5_bridge.worker_config import ConfigError, load_worker_config, read_token

GOOD: dict[str, Any] = {
    "terminal_id": "ter_1",
    "epoch": 7,
    "listen": "unix:/run/x",
    "backend": "simulated",
    "backend_options": {"ipc": "unix:/run/y"},
    "login": 5,
    "server": "S",
    "journal": "/j",
    "token_file": "/t",
    "guard": {"symbols": None, "max_volume": None, "trading": True},
    "log_file": "/l",
}


def load(folder: Path, content: str) -> Any:
    (folder / "w.json").write_text(content)
    return load_worker_config(folder / "w.json")


def test_a_good_file_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, json.dumps(GOOD))
    assert (config.login, config.listen, config.guard.trading) == (5, Address(path=Path("/run/x")), True)


@pytest.mark.parametrize("name", ["terminal_id", "epoch", "listen", "backend", "backend_options", "login", "journal"])
@pytest.mark.parametrize("value", [None, True, 1.5])
def test_each_value_must_be_there_and_of_its_type(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        load(tmp_path, json.dumps(GOOD | {name: value}))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"listen": "0.0.0.0:5"}'])
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, content)


def test_a_worker_never_listens_to_the_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        load(tmp_path, json.dumps(GOOD | {"listen": "0.0.0.0:9000"}))


def test_a_token_must_be_there_and_long(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("short")
    for file in (tmp_path / "t", tmp_path / "none"):
        with pytest.raises(ConfigError) as refused:
            read_token(file)
        assert "short" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "unix:", "host", "host:", ":5", "host:70000", "host:-1"])
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unix"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("127.0.0.1:5").loopback
    assert parse_address("[::1]:5") == Address(host="::1", port=5)
    assert not parse_address("10.0.0.1:5").loopback
