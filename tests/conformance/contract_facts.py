"""The contract counted against the description of the package, and against the official wheel itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt5_bridge import contract

_STYLES = {
    "METH_VARARGS": contract.Style.POSITIONAL,
    "METH_VARARGS|METH_KEYWORDS": contract.Style.KEYWORDS,
    "METH_NOARGS": contract.Style.NONE,
}
_TYPES = {"int": int, "float": float, "str": str, "bool": bool}


class WheelError(Exception):
    """The wheel cannot be had here; the text says why."""


@dataclass(frozen=True)
class Count:
    """How much of what the source has is in the contract as it is there, and what is not."""

    name: str
    right: int
    total: int
    wrong: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.right == self.total and not self.wrong


def _count(name: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Count:
    wrong = [str(key) for key, value in expected.items() if key not in found or found[key] != value]
    too_many = [f"{key} (not in the source)" for key in found if key not in expected]
    return Count(name, len(expected) - len(wrong), len(expected), tuple(wrong + too_many))


def counts(spec: Mapping[str, Any]) -> list[Count]:
    """Constants, functions, structs, fields, array columns, errors and return codes against the description."""
    styles = {name: _STYLES[flag] for flag, names in spec["module_flags"].items() for name in names}
    styles |= dict.fromkeys(("Buy", "Sell", "Close"), contract.Style.PYTHON)
    listed = {one["name"]: styles[one["name"]] for one in spec["functions"]}
    texts = {int(code): tuple(one) for code, one in spec["error_messages"].items()}
    return [
        _count("constants", spec["constants"], contract.CONSTANTS),
        _count("functions", listed, {name: one.style for name, one in contract.FUNCTIONS.items()}),
        _count("structs", _names(spec["structs"]), _names(contract.STRUCTS)),
        _count("fields", _fields(spec["structs"]), _fields(contract.STRUCTS)),
        _count("array columns", _fields(spec["arrays"]), _fields(contract.DTYPES)),
        _count("errors", _firsts(spec["errors"]), contract.ERRORS),
        _count("error texts", texts, contract.ERROR_TEXTS),
        _count("retcodes", _firsts(spec["retcodes"]), contract.RETCODES),
        _count("comments", _firsts(spec["retcode_comments"]), contract.RETCODE_COMMENTS),
    ]


def _firsts(table: Mapping[str, Any]) -> dict[int, Any]:
    return {int(code): one[0] for code, one in table.items()}


def _fields(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Each field by its kind, place and name, with its type."""
    return {
        f"{kind}.{place}.{field[0]}": _TYPES.get(field[1], tuple) if _is_struct(kind, field) else field[1]
        for kind, fields in kinds.items()
        for place, field in enumerate(fields)
    }


def _is_struct(kind: str, field: Any) -> bool:
    """Whether the field's type is written in the description's words, which name Python's types."""
    return kind in contract.STRUCTS and isinstance(field[1], str)


def _names(structs: Mapping[str, Any]) -> dict[str, list[str]]:
    return {kind: [field[0] for field in fields] for kind, fields in structs.items()}


def wheel_facts() -> tuple[str, dict[str, int], set[str]]:
    """Version, constants and functions of the official wheel, read without running it.

    Of the functions in C those are found that the contract has: their names stand in the compiled module.

    Raises WheelError where pip cannot download it.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "download",
            "MetaTrader5==" + contract.PACKAGE_VERSION,
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
        ]
        target = ["--platform", "win_amd64", "--python-version", "311", "--implementation", "cp", "--dest", folder]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip", *command, *target],
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WheelError("pip did not answer in time") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise WheelError((done.stderr.strip().splitlines() or ["pip gave nothing"])[-1])
        with zipfile.ZipFile(wheels[0]) as archive:
            source = archive.read("MetaTrader5/__init__.py").decode()
            compiled = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".pyd"))
    version, constants, functions = _facts(ast.parse(source))
    return version, constants, functions | {name for name in contract.FUNCTIONS if _has_word(compiled, name)}


def _has_word(compiled: bytes, word: str) -> bool:
    return f"\0{word}\0".encode() in compiled


def _facts(module: ast.Module) -> tuple[str, dict[str, int], set[str]]:
    version = ""
    constants: dict[str, int] = {}
    functions: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            functions.add(node.name)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _value(node.value, constants)
            if name == "__version__":
                version = str(value)
            elif type(value) is int:
                constants[name] = value
    return version, constants, functions


def _value(node: ast.expr, known: Mapping[str, int]) -> Any:
    """The value of a literal, a name seen before, or several of them joined by `|`; None for anything else."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return known.get(node.id)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _value(left, known) | _value(right, known)
    return None
