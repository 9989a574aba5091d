"""Code that a user has brought, as seen from inside of its sandbox: what it declares, and where it went wrong."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from mt5_bridge.strategies.base import Parameter, Strategy

Kind = Literal["strategy", "script"]
_MOST_TEXT: Final = 500
_MOST_PARAMETERS: Final = 50
_PACKAGE: Final = "MetaTrader5"


@dataclass(frozen=True)
class BroughtError(Exception):
    """Why it cannot be run. `message` is one sentence; `line` is 0 where no line is to blame."""

    code: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}: " if self.line else ""
        return f"{place}{self.message}"


def check_syntax(folder: Path) -> None:
    """That all Python files can be parsed. Raises BroughtError."""
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder))
        try:
            ast.parse(path.read_bytes(), name)
        except SyntaxError as error:
            raise BroughtError("syntax_error", f"{error.msg}.", name, error.lineno or 0) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise BroughtError("syntax_error", f"it cannot be parsed: {type(error).__name__}.", name) from error


def kind_of(source: bytes) -> Kind:
    """Whether a file is a script for the official package. What has a class that might be a strategy is none."""
    tree = ast.parse(source)
    scripts = any(_imports_package(node) for node in ast.walk(tree))
    classes = any(isinstance(node, ast.ClassDef) and node.bases for node in tree.body)
    return "script" if scripts and not classes else "strategy"


def load_strategy(folder: Path, entry: str) -> type[Strategy]:
    """Import the file and find its one strategy. Runs its code. Raises BroughtError."""
    module = _import(folder, entry)
    found = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Strategy) and each.__module__ == module.__name__
    ]
    ready = [each for each in dict.fromkeys(found) if not inspect.isabstract(each)]
    if len(ready) == 1:
        return ready[0]
    if ready:
        names = ", ".join(each.__name__ for each in ready)
        raise BroughtError("several_strategies", f"It defines several strategies ({names}); leave one.", entry)
    if found:
        missing = ", ".join(sorted(getattr(found[0], "__abstractmethods__", ())))
        line = inspect.getsourcelines(found[0])[1]
        raise BroughtError("unfinished_strategy", f"{found[0].__name__} does not define {missing}.", entry, line)
    raise BroughtError(
        "no_strategy",
        "It defines no subclass of mt5_bridge.strategies.base.Strategy, and is no script that imports MetaTrader5.",
        entry,
    )


def described(strategy: type[Strategy]) -> dict[str, Any]:
    """What a strategy declares, as plain JSON values. Raises BroughtError."""
    try:
        parameters = [_parameter(each) for each in tuple(strategy.parameters)[: _MOST_PARAMETERS + 1]]
        told = {
            "name": str(strategy.name),
            "title": str(strategy.title)[:_MOST_TEXT],
            "help": str(strategy.help)[:_MOST_TEXT],
        }
    except (AttributeError, TypeError, ValueError) as error:
        line = inspect.getsourcelines(strategy)[1]
        raise BroughtError("bad_declaration", f"What it declares cannot be read: {error}.", "", line) from error
    if len(parameters) > _MOST_PARAMETERS:
        raise BroughtError("bad_declaration", f"It declares more than {_MOST_PARAMETERS} parameters.")
    return {**told, "parameters": parameters}


def blame(error: BaseException, folder: Path) -> BroughtError:
    """An exception of the brought code, with the innermost of its own lines."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    text = f"{type(error).__name__}: {error}"[:_MOST_TEXT]
    if not own:
        return BroughtError("raised", text)
    return BroughtError("raised", text, str(Path(own[-1].filename).relative_to(folder)), own[-1].lineno or 0)


def _import(folder: Path, entry: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(Path(entry).stem)
    except BaseException as error:
        raise blame(error, folder) from error


def _imports_package(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] == _PACKAGE for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": str(parameter.name)[:64],
        "title": str(parameter.title)[:_MOST_TEXT],
        "help": str(parameter.help)[:_MOST_TEXT],
        "type": parameter.type.__name__,
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
    }


def look(folder: Path, entry: str) -> dict[str, Any]:
    """What is in it. Runs its code unless it is a script."""
    try:
        check_syntax(folder)
        if kind_of((folder / entry).read_bytes()) == "script":
            title = Path(entry).stem
            return {"ok": True, "kind": "script", "name": title, "title": title, "help": "", "parameters": []}
        return {"ok": True, "kind": "strategy", **described(load_strategy(folder, entry))}
    except BroughtError as error:
        return {"ok": False, "code": error.code, "message": error.message, "file": error.file, "line": error.line}


def main(arguments: list[str]) -> None:
    """`python -m mt5_bridge.strategies.brought FOLDER ENTRY RESULT`: write down what is in it."""
    folder, entry, result = arguments
    Path(result).write_text(json.dumps(look(Path(folder), entry)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
