"""As much of the remote framebuffer protocol (RFC 6143) as it takes to see a screen: version 3.8, raw pixels."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from websockets.sync.client import ClientConnection


class Screen:
    """What a viewer sees that has sent its ticket."""

    def __init__(self, socket: ClientConnection, ticket: str) -> None:
        self._socket = socket
        self._buffer = b""
        socket.send(ticket)
        assert json.loads(socket.recv(20)) == {"ok": True}
        assert self._read(12) == b"RFB 003.008\n"
        socket.send(b"RFB 003.008\n")
        [count] = self._read(1)
        assert 1 in self._read(count), "the ticket was all that it takes"
        socket.send(b"\x01")
        assert self._read(4) == bytes(4)
        socket.send(b"\x01")
        self.width, self.height = struct.unpack(">HH", self._read(4))
        self._read(16)
        self._read(struct.unpack(">I", self._read(4))[0])
        # 32 bits a pixel, little-endian, red in the lowest byte.
        socket.send(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 0, 8, 16))

    def look(self) -> Picture:
        """The whole screen as it is now."""
        self._socket.send(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        pixels = bytearray(self.width * self.height * 4)
        while self._read(1) != b"\x00":
            raise AssertionError("only pictures were expected")
        [rectangles] = struct.unpack(">xH", self._read(3))
        for _ in range(rectangles):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
            assert encoding == 0
            for row in range(y, y + height):
                start = (row * self.width + x) * 4
                pixels[start : start + width * 4] = self._read(width * 4)
        return Picture(self.width, bytes(pixels))

    def click(self, x: int, y: int) -> None:
        for buttons in (0, 1, 0):
            self._socket.send(struct.pack(">BBHH", 5, buttons, x, y))

    def press(self, key: int) -> None:
        for down in (1, 0):
            self._socket.send(struct.pack(">BBxxI", 4, down, key))

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self._socket.recv(20)
            assert isinstance(data, bytes)
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


@dataclass(frozen=True)
class Picture:
    width: int
    pixels: bytes

    def count(self, colour: tuple[int, int, int]) -> int:
        """How many pixels are of exactly this colour."""
        wanted = bytes(colour)
        return sum(self.pixels[at : at + 3] == wanted for at in range(0, len(self.pixels), 4))
