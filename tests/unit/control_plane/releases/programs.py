"""Windows programs with nothing in them but what a test needs."""

from __future__ import annotations

import struct

_START = 0x1000
_OFFSET = 0x200


def program(version: tuple[int, int, int, int] = (5, 0, 0, 5260), filler: bytes = b"") -> bytes:
    """A 64-bit program with one section that holds one version resource."""
    fixed = struct.pack("<IIII", 0xFEEF04BD, 0x10000, version[0] << 16 | version[1], version[2] << 16 | version[3])
    value = struct.pack("<HHH", 0, 52, 0) + "VS_VERSION_INFO\0".encode("utf-16-le") + b"\0\0" + fixed + bytes(36)

    def directory(number: int, target: int, *, leaf: bool = False) -> bytes:
        place = target if leaf else 0x8000_0000 | target
        return struct.pack("<12xHH", 0, 1) + struct.pack("<II", number, place)

    tree = directory(16, 24) + directory(1, 48) + directory(1033, 72, leaf=True)
    leaf = struct.pack("<IIII", _START + 88, len(value), 0, 0)
    section = tree + leaf + value
    optional = (
        struct.pack("<H106x", 0x20B) + struct.pack("<I", 16) + bytes(16) + struct.pack("<II", _START, len(section))
    )
    optional += bytes(240 - len(optional))
    header = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, len(optional), 0x22)
    table = struct.pack("<8sIIII16x", b".rsrc", len(section), _START, len(section), _OFFSET)
    top = b"MZ" + bytes(58) + struct.pack("<I", 64) + header + optional + table
    return top + bytes(_OFFSET - len(top)) + section + filler
