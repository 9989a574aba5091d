"""The version that a Windows program says of itself, read from its bytes.

The format is Microsoft's "PE Format": an optional header names the resource directory, a tree of three levels (type,
name, language) whose leaf of type 16 is a VS_VERSIONINFO with a VS_FIXEDFILEINFO in it.
"""

from __future__ import annotations

import struct
from typing import Final

_SIGNATURE: Final = b"\xbd\x04\xef\xfe"
_RT_VERSION: Final = 16
_RESOURCES: Final = 2
"""Index of the resource directory among the data directories."""
_SUBDIRECTORY: Final = 0x8000_0000
_LEVELS: Final = 3


class NoVersionError(Exception):
    """The file is no Windows program, or says no version."""


def file_version(program: bytes) -> tuple[int, int, int, int]:
    """For example (5, 0, 0, 5260); the last number is MetaTrader's build. Raises NoVersionError."""
    try:
        resource = _version_resource(program)
        fixed = resource.index(_SIGNATURE)
        high, low = struct.unpack_from("<II", resource, fixed + 8)
    except (struct.error, ValueError, IndexError) as error:
        raise NoVersionError("The program has no readable version resource.") from error
    return high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF


def _version_resource(program: bytes) -> bytes:
    """Raises struct.error, ValueError for what is no such program."""
    (header,) = struct.unpack_from("<I", program, 0x3C)
    if program[:2] != b"MZ" or program[header : header + 4] != b"PE\0\0":
        raise ValueError("no PE file")
    sections, optional_size = struct.unpack_from("<H12xH", program, header + 6)
    optional = header + 24
    (magic,) = struct.unpack_from("<H", program, optional)
    directories = optional + {0x10B: 96, 0x20B: 112}[magic] if magic in {0x10B, 0x20B} else len(program)
    (root, _) = struct.unpack_from("<II", program, directories + 8 * _RESOURCES)
    table = [struct.unpack_from("<8x4I", program, optional + optional_size + 40 * n) for n in range(sections)]

    def offset(address: int) -> int:
        for size, start, raw_size, raw in table:
            if start <= address < start + max(size, raw_size):
                return int(raw + address - start)
        raise ValueError("an address outside of the file")

    place, base = offset(root), offset(root)
    for level in range(_LEVELS):
        place = base + _child(program, place, _RT_VERSION if level == 0 else None)
    address, size = struct.unpack_from("<II", program, place)
    return program[offset(address) : offset(address) + size]


def _child(program: bytes, directory: int, wanted: int | None) -> int:
    """Offset, from the root, of the wanted entry of a resource directory, or of its first one."""
    named, numbered = struct.unpack_from("<12xHH", program, directory)
    for index in range(named + numbered):
        number, place = struct.unpack_from("<II", program, directory + 16 + 8 * index)
        if wanted is None or number == wanted:
            return int(place & ~_SUBDIRECTORY)
    raise ValueError("no such resource")
