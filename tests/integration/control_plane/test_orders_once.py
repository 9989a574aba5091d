"""The short form of `make orders-once`: real processes, faults on the way, and the broker's book beside the table."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest

from tests.orders.once import describe, run

pytestmark = pytest.mark.timeout(900)


def test_orders_over_rest_are_carried_out_once_through_faults_and_killings() -> None:
    # Under /tmp: the paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        report = run(Path(folder), 150, seed=7, accounts=1, clients=2, kill_every=50, stopped=threading.Event())
    said = describe(report)
    assert report.sound, said
    assert report.kills >= 2, said
    assert sum(report.happened.values()) > 0, said
    assert report.verdict.states["done"] > 75, said
