"""A keep-alive HTTP/1.1 client of few steps: the generator must not take the processor away from what it measures."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class LineBrokenError(Exception):
    """The other side has closed the connection."""


class Line:
    """One connection, opened when it is first needed and again after it broke. One request at a time."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, target: str, headers: str = "", body: bytes = b"") -> Answer:
        """`headers` are whole lines, each with its end. Raises LineBrokenError, OSError."""
        if self._streams is not None and self._streams[0].at_eof():
            self.cut()  # unused for too long, so the server has closed it
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        reader, writer = self._streams
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{headers}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            writer.write(head.encode() + b"\r\n" + body)
            return await _read(reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.cut()
            raise LineBrokenError from error
        except BaseException:
            self.cut()
            raise

    def cut(self) -> None:
        """Drop the connection at once, as a network does."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        length = int(lower[at + 15 : lower.index(b"\r\n", at)])
        return Answer(status, await reader.readexactly(length) if length else b"")
    if b"transfer-encoding: chunked" not in lower:
        return Answer(status, b"")
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return Answer(status, b"".join(parts))
