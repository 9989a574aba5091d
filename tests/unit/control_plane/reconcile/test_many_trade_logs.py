"""`make reconcile-test` in small: many accounts, whatever is planted is found once, and a second run is quiet."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.reconciliation.scene import Count, Scene


def test_all_that_is_planted_is_found_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "farm", deals=40)
    try:
        scene.add_accounts(25, Random(7))
        scene.compare()
        count = Count()
        count.add(scene)
    finally:
        scene.close()
    assert count.clean, count
    assert (count.accounts, count.found) == (25, count.planted)
    assert count.planted > 25
