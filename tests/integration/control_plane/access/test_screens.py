"""Views on their way from a gateway to a browser, with a gateway played by the test over real TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.access.screens import Screens
from control_plane.errors import ConflictError, FarmError, TooManyRequestsError
from node_agent.protocol.tickets import Scope, Ticket
from tests.integration.node_agent.control_plane_stand_in import NODE_ID, Authority

TICKET = Ticket("tik_1", NODE_ID, "ter_1", 1, Scope.VIEW, "user:usr_1")
OK = {"ok": True}


class Browser:
    """Takes what it is shown, a little more slowly than it could."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.shown = bytearray()

    async def receive(self) -> bytes | None:
        return await self.says.get()

    async def send(self, data: bytes) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.shown += data


@dataclass
class Gateway:
    """Answers each hello as it is told, then plays the screen."""

    authority: Authority
    folder: Path
    answer: dict[str, Any] = field(default_factory=lambda: OK)
    hellos: list[dict[str, Any]] = field(default_factory=list)
    play: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    address: str = ""

    async def __aenter__(self) -> Gateway:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(self.authority, self.folder))
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            self.hellos.append(json.loads(await reader.readline()))
            writer.write(json.dumps(self.answer).encode() + b"\n")
            if self.play is not None:
                await self.play(reader, writer)
            else:
                await reader.read()
            writer.close()


def certificate(authority: Authority, folder: Path) -> tuple[Path, Path]:
    """Of the node's gateway: its file, and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain, private = folder / "gateway.pem", folder / "gateway.key"
    chain.write_text(authority.sign(key.public_key(), [NODE_ID]))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, private


async def yes() -> bool:
    return True


@pytest.fixture
def authority() -> Authority:
    return Authority()


def test_bytes_pass_both_ways_and_the_hello_asks_for_the_screen(authority: Authority, tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB" + await reader.readexactly(3))
        await writer.drain()

    async def scene() -> None:
        browser = Browser()
        browser.says.put_nowait(b"abc")
        async with (
            Gateway(authority, tmp_path, play=echo) as gateway,
            Screens(authority.pem).open(TICKET, "signed", gateway.address) as link,
        ):
            await link.carry(browser, yes)
        assert bytes(browser.shown) == b"RFBabc"
        assert gateway.hellos == [{"v": 1, "ticket": "signed", "channel": "screen"}]

    asyncio.run(scene())


def test_it_ends_when_the_browser_goes_or_may_no_more(authority: Authority, tmp_path: Path) -> None:
    async def scene() -> None:
        async with Gateway(authority, tmp_path) as gateway:
            screens = Screens(authority.pem, ask_every=0.01)
            gone, signed_out = Browser(), Browser()
            gone.says.put_nowait(None)
            async with screens.open(TICKET, "t", gateway.address) as link:
                await asyncio.wait_for(link.carry(gone, yes), 20)
            answers = iter([True, True, False])

            async def until_signed_out() -> bool:
                return next(answers)

            async with screens.open(TICKET, "t", gateway.address) as link:
                await asyncio.wait_for(link.carry(signed_out, until_signed_out), 20)

    asyncio.run(scene())


def test_a_slow_browser_slows_the_gateway(authority: Authority, tmp_path: Path) -> None:
    """Else the control plane would hold all that the screen has shown meanwhile."""
    browser, whole = Browser(), 64 << 20
    most_on_the_way = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most_on_the_way
        for sent in range(0, whole, 1 << 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
            most_on_the_way = max(most_on_the_way, sent - len(browser.shown))

    async def scene() -> None:
        async with (
            Gateway(authority, tmp_path, play=flood) as gateway,
            Screens(authority.pem).open(TICKET, "t", gateway.address) as link,
        ):
            await link.carry(browser, yes)

    asyncio.run(scene())
    assert len(browser.shown) == whole
    assert most_on_the_way < 24 << 20, "no more than the kernel keeps for a connection"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"ok": False, "code": "ticket_used", "message": "the ticket was used before"}, "ticket_used"),
        ({"ok": False, "code": "no_screen", "message": "no screen"}, "no_screen"),
    ],
)
def test_a_refusal_of_the_gateway_is_told(
    authority: Authority, tmp_path: Path, answer: dict[str, Any], code: str
) -> None:
    async def scene() -> FarmError:
        async with Gateway(authority, tmp_path, answer) as gateway:
            return await refusal(Screens(authority.pem), gateway.address)

    error = asyncio.run(scene())
    assert (error.code, answer["message"] in error.detail) == (code, True)


def test_a_gateway_that_is_not_the_nodes_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    async def scene() -> FarmError:
        async with Gateway(Authority(), tmp_path) as gateway:
            found = await refusal(Screens(authority.pem), gateway.address)
            assert gateway.hellos == [], "the ticket was not shown to it"
            return found

    assert asyncio.run(scene()).code == "terminal_not_ready"


def test_one_person_cannot_take_all_views(authority: Authority, tmp_path: Path) -> None:
    async def scene() -> None:
        async with Gateway(authority, tmp_path) as gateway:
            screens = Screens(authority.pem, most=2, most_of_one=1)
            async with screens.open(TICKET, "t", gateway.address):
                assert isinstance(await refusal(screens, gateway.address), TooManyRequestsError)
            async with screens.open(TICKET, "t", gateway.address):
                pass

    asyncio.run(scene())


async def refusal(screens: Screens, address: str) -> FarmError:
    with pytest.raises((ConflictError, TooManyRequestsError)) as refused:
        async with screens.open(TICKET, "t", address):
            pass
    return refused.value
