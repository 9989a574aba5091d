"""One demo for the files of this folder that need no other one: starting it takes longer than most of their tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo_farm import DemoFarm


@pytest.fixture(scope="package")
def farm() -> Iterator[DemoFarm]:
    """At sixty times the pace of a clock; it may send webhooks to this machine."""
    farm = DemoFarm("--speed", "60", settings={"MT5FARM_WEBHOOK_NETWORKS": "127.0.0.0/8"})
    try:
        farm.wait_up()
        yield farm
    finally:
        farm.stop()
