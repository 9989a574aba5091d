"""A template is fetched once, resumed where it was cut off, and never used unless it is the one that was asked for."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from node_agent.identity import make_keys
from node_agent.protocol.messages import TemplateRef
from node_agent.terminal.fetch import TemplateFetcher
from node_agent.terminal.shelf import TemplateError, TemplateShelf
from tests.unit.node_agent.terminal.test_unpack import archive, file

CONTENT = archive(file("terminal64.exe", b"MZ" * 5000), file("config/servers.dat")).getvalue()


def reference(content: bytes = CONTENT) -> TemplateRef:
    return TemplateRef(name="B", build=5260, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


class ControlPlane:
    """Serves the template, a few bytes at a time."""

    def __init__(self, content: bytes = CONTENT, most: int = 1 << 30, status: int = 0) -> None:
        self.content, self.most, self.status = content, most, status
        self.ranges: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"]
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        if self.status:
            return httpx.Response(self.status)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        headers = {"Content-Range": f"bytes {first}-"} if asked else {}
        return httpx.Response(206 if asked else 200, headers=headers, content=self.content[first : first + self.most])


def shelf(root: Path, plane: Callable[[httpx.Request], httpx.Response]) -> TemplateShelf:
    fetch = TemplateFetcher(
        "https://farm",
        ssl.create_default_context(),
        "nod_1",
        make_keys(),
        time.time,
        lambda: httpx.MockTransport(plane),
    )
    return TemplateShelf(root, fetch)


def test_it_is_fetched_unpacked_and_kept(tmp_path: Path) -> None:
    plane = ControlPlane()
    made = shelf(tmp_path, plane)
    folder = made.take(reference())
    assert (folder / "terminal64.exe").read_bytes() == b"MZ" * 5000
    assert made.take(reference()) == folder
    assert len(plane.ranges) == 1
    assert made.held() == [reference().sha256]
    assert [path.name for path in tmp_path.iterdir()] == [reference().sha256]


def test_a_broken_link_costs_only_what_had_not_arrived(tmp_path: Path) -> None:
    plane = ControlPlane(most=len(CONTENT) // 4)
    made = shelf(tmp_path, plane)
    with pytest.raises(TemplateError, match="at the moment"):
        made.take(reference())
    plane.most = 1 << 30
    made.take(reference())
    quarter = len(CONTENT) // 4
    assert plane.ranges == ["", f"bytes={quarter}-", f"bytes={2 * quarter}-", f"bytes={3 * quarter}-"]


def test_a_server_that_starts_anew_is_followed(tmp_path: Path) -> None:
    made = shelf(tmp_path, lambda request: httpx.Response(200, content=CONTENT))
    tmp_path.joinpath(f"{reference().sha256}.part").write_bytes(b"rubbish")
    made.take(reference())


OTHER = archive(file("terminal64.exe", b"another build")).getvalue()
NO_TERMINAL = archive(file("a")).getvalue()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"?" * len(CONTENT), reference()),
        (CONTENT + b"more", reference()),
        (OTHER, reference().model_copy(update={"size": len(OTHER)})),
        (b"no archive", reference(b"no archive")),
        (NO_TERMINAL, reference(NO_TERMINAL)),
    ],
    ids=["other bytes", "too long", "another archive", "no archive", "no terminal in it"],
)
def test_what_is_not_the_one_asked_for_is_refused_and_not_kept(
    tmp_path: Path, content: bytes, wanted: TemplateRef
) -> None:
    made = shelf(tmp_path, ControlPlane(content))
    for _ in range(2):
        with pytest.raises(TemplateError):
            made.take(wanted)
    assert made.held() == []


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_is_told(tmp_path: Path, status: int) -> None:
    with pytest.raises(TemplateError, match=str(status)):
        shelf(tmp_path, ControlPlane(status=status)).take(reference())


def test_terminals_that_start_together_fetch_it_once(tmp_path: Path) -> None:
    plane = ControlPlane()
    made = shelf(tmp_path, plane)
    threads = [threading.Thread(target=made.take, args=(reference(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plane.ranges) == 1


def test_what_nobody_wants_is_removed_half_or_whole(tmp_path: Path) -> None:
    made = shelf(tmp_path, ControlPlane())
    made.take(reference())
    (tmp_path / f"{'0' * 64}.part").touch()
    assert made.clean({reference().sha256}) == []
    assert made.held() == [reference().sha256]
    assert made.clean(set()) == [reference().sha256]
    assert list(tmp_path.iterdir()) == []
