"""Files of the node: private, whole, and clear when they cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography import x509

from node_agent.clock import system_clock
from node_agent.errors import AlreadyRunningError, ConfigurationError
from node_agent.gateway.configuration import split_address
from node_agent.identity import gateway_request, load_keys, make_gateway_key, make_keys, save_keys
from node_agent.layout import DataLayout
from node_agent.shutdown import stop_everything


def test_keys_come_back_as_they_were_and_are_for_their_owner_only(tmp_path: Path) -> None:
    keys = make_keys()
    path = tmp_path / "identity.json"
    save_keys(path, keys)
    assert path.stat().st_mode & 0o777 == 0o600
    again = load_keys(path)
    assert (again.identity_public, again.sealing_public) == (keys.identity_public, keys.sealing_public)
    assert "***" in repr(keys)


def test_broken_keys_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    for content in (b"", b"[]", b'{"identity": "x", "sealing": "y"}'):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="enrol the node again"):
            load_keys(path)


def test_the_gateway_key_signs_a_request_without_names(tmp_path: Path) -> None:
    key = make_gateway_key(tmp_path / "key.pem")
    request = x509.load_pem_x509_csr(gateway_request(key, "node 1").encode())
    assert request.is_signature_valid
    assert list(request.extensions) == []
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


def test_only_one_agent_owns_a_folder(tmp_path: Path) -> None:
    layout = DataLayout.open(tmp_path / "data")
    with layout.acquire_lock(), pytest.raises(AlreadyRunningError, match="another agent"):
        layout.acquire_lock()
    layout.acquire_lock().close()


def test_a_run_folder_made_by_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    layout = DataLayout.open(tmp_path / "data")
    layout.run.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError):
        layout.open_run_folder()
    layout.run.unlink()
    assert layout.open_run_folder().stat().st_mode & 0o777 == 0o700


def test_the_run_folder_stays_where_it_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "first"))
    (tmp_path / "first").mkdir()
    chosen = DataLayout.open(tmp_path / "data").open_run_folder()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "second"))
    assert DataLayout.open(tmp_path / "data").run == chosen
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert DataLayout.open(tmp_path / "copy").run != chosen, "a copy must not share the sockets of the original"


def test_socket_paths_stay_short_whatever_the_data_folder(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path / ("long" * 50))
    terminal = layout.terminal("ter_" + "0" * 32)
    assert len(str(terminal.worker_socket)) < 100


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "host:70000"])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        split_address(text)


def test_no_password_stays_on_disk_when_everything_is_stopped(tmp_path: Path) -> None:
    layout = DataLayout.open(tmp_path / "data")
    startup = layout.terminal("ter_0000000000000001").folder / "config" / "startup.ini"
    startup.parent.mkdir(parents=True)
    startup.write_text("[Common]")
    assert stop_everything(layout, 1.0, system_clock) == 0
    assert not startup.exists()


def test_addresses_are_split() -> None:
    assert split_address("127.0.0.1:8443") == ("127.0.0.1", 8443)
    assert split_address("[::1]:8443") == ("::1", 8443)
