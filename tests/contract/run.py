"""Compares the contract with its baseline, the one that clients rely on; or moves the baseline, on purpose."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from control_plane.app import openapi_document
from tests.contract.changes import Document, additions, breaking_changes

_DOCS = Path(__file__).parents[2] / "docs"
BASELINE = _DOCS / "openapi-v1.json"
_BROKEN = _DOCS / "api_breaking_changes.md"
_HEAD = "# What has broken in /api/v1\n\nWritten by `make api-baseline`: when it broke, why, and what of it.\n"


def main() -> int:
    arguments = _arguments()
    old, new = read_baseline(), openapi_document()
    broken = breaking_changes(old, new)
    for each in broken:
        print(f"breaks clients: {each}")
    if not arguments.move:
        return _judged(broken, additions(old, new))
    if broken and not arguments.because:
        print("The baseline has not been moved: say why the contract may break, make api-baseline BECAUSE='...'")
        return 1
    if broken:
        _write_down(arguments.because, broken)
    write_baseline(new)
    print(f"{BASELINE.name} is the present contract now")
    return 0


def read_baseline() -> Document:
    document: Document = json.loads(BASELINE.read_text(encoding="utf-8"))
    return document


def write_baseline(document: Document) -> None:
    BASELINE.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _judged(broken: list[str], added: list[str]) -> int:
    if broken:
        print("The contract may grow, not break. If this must be: docs/api.md, The baseline.")
        return 1
    if added:
        print(f"{len(added)} calls are not in the baseline yet (make api-baseline): {', '.join(added)}")
    return 0


def _write_down(because: str, broken: list[str]) -> None:
    before = _BROKEN.read_text(encoding="utf-8") if _BROKEN.exists() else _HEAD
    lines = "\n".join(f"- {each}" for each in broken)
    _BROKEN.write_text(f"{before}\n## {datetime.now(UTC).date()}: {because}\n\n{lines}\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--move", action="store_true", help="make the present contract the baseline")
    parser.add_argument("--because", default="", help="why clients may break, when they do")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
