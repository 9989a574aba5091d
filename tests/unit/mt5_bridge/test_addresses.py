"""Addresses, and paths where there are no Unix sockets (as Python is on Windows)."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.addresses import Address, parse_address


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        yield Path(folder) / "w"


@pytest.fixture
def no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")


def _talk(address: Address) -> None:
    with address.listen() as listener, address.connect(5) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"hello")
            assert far.recv(5) == b"hello"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/w", Address(path=Path("/run/w"))),
        ("127.0.0.1:80", Address(host="127.0.0.1", port=80)),
        ("tcp:127.0.0.1:80", Address(host="127.0.0.1", port=80)),
        ("tcp:[::1]:80", Address(host="::1", port=80)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert address.loopback


@pytest.mark.parametrize("text", ["", "unix:", "host", "tcp:", "tcp:80", "host:", "host:x", "host:65536", ":80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_a_path_is_a_unix_socket_where_there_are_any(path: Path) -> None:
    _talk(Address(path))
    assert path.is_socket()


@pytest.mark.usefixtures("no_unix_sockets")
def test_elsewhere_a_path_holds_a_loopback_port(path: Path) -> None:
    _talk(Address(path))
    host, port = Address(path).host_and_port()
    assert (host, str(port)) == ("127.0.0.1", path.read_text())


@pytest.mark.usefixtures("no_unix_sockets")
def test_a_new_server_takes_the_path_over_from_a_dead_one(path: Path) -> None:
    path.write_text("1")
    _talk(Address(path))


@pytest.mark.usefixtures("no_unix_sockets")
@pytest.mark.parametrize("content", [None, "", "x", "0", "70000", "12 34"])
def test_a_path_where_nobody_listens_is_an_error_of_the_system(path: Path, content: str | None) -> None:
    if content is not None:
        path.write_text(content)
    with pytest.raises(OSError):
        Address(path).connect(1)
