"""The page of docs/settings.md, made from the settings themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from control_plane.config import Settings

_HEAD = """# Settings of the control plane

Each is read from the environment; what a command line names goes first. Nothing is read from the working directory.
A secret belongs into a file of mode 0600 that a setting names. A password that is easy to guess ends the start with one
sentence. This page is made by `make settings`.

| variable | unless said | what |
|---|---|---|
"""


def settings_page() -> str:
    """Markdown."""
    rows = (_row(name, field) for name, field in sorted(Settings.model_fields.items()))
    return _HEAD + "".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    variable = f"{Settings.model_config['env_prefix']}{name.upper()}"
    text = " ".join((field.description or "").split()).replace("|", "/")
    return f"| `{variable}` | {_default(field)} | {text} |\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "must be said"
    if isinstance(value, Path):
        return "the one that was built"
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"
