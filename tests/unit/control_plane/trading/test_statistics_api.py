"""Statistics, calendar and files over REST."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from control_plane.trading.export import BYTE_ORDER_MARK
from tests.unit.control_plane.world import World, build_world, deal_body, event, history_order_body, positions_body

MONDAY = 1_772_409_600_000
"""2 March 2026, midnight of the broker."""
DAY = 86_400_000


class Scene:
    def __init__(self, world: World) -> None:
        self.trader, node = world.trader(), world.node()
        self.account_id, wanted = world.ready_account(self.trader, node)
        bodies: list[Any] = [
            deal_body(1, type=2, symbol="", volume=0.0, price=0.0, profit=1000.0, commission=0.0, time_msc=MONDAY),
            deal_body(2, entry=0, position_id=2, commission=-1.0, magic=7, time_msc=MONDAY + 1000),
            deal_body(
                3, type=1, entry=1, position_id=2, profit=51.0, commission=0.0, magic=7, time_msc=MONDAY + 3_600_000
            ),
            deal_body(4, entry=0, position_id=4, commission=0.0, symbol="XAUUSD", time_msc=MONDAY + DAY),
            deal_body(
                5, type=1, entry=1, position_id=4, profit=-21.0, commission=0.0, symbol="XAUUSD", comment="=1+1",
                time_msc=MONDAY + DAY + 1,
            ),
        ]  # fmt: skip
        bodies += [history_order_body(8, comment="@evil"), positions_body(9)]
        node.deliver(*(event(wanted, f"evt_{number}", each) for number, each in enumerate(bodies)))

    def get(self, path: str, status: int = 200) -> Any:
        return self.trader.call("GET", f"/accounts/{self.account_id}{path}", status)

    def file(self, path: str, delimiter: str = ",") -> list[list[str]]:
        response = self.trader.request("GET", f"/accounts/{self.account_id}/exports{path}")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment" in response.headers["content-disposition"]
        text = response.content.decode("utf-8")
        assert text.startswith(BYTE_ORDER_MARK)
        return list(csv.reader(io.StringIO(text[1:], newline=""), delimiter=delimiter, strict=True))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    world = build_world(tmp_path_factory.mktemp("farm"))
    yield Scene(world)
    world.farm.stop()


def test_figures_of_the_whole_account(scene: Scene) -> None:
    found = scene.get("/statistics")
    assert (found["currency"], found["trades"]["trades"], found["trades"]["net"]) == ("USD", 2, "29.00")
    account = found["account"]
    assert (account["deposits"], account["balance"], account["result"]) == ("1000.00", "1029.00", "29.00")
    assert account["gain"] == pytest.approx(0.029)
    assert account["relative_drawdown"]["depth"] == pytest.approx(21 / 1050)
    assert [group["key"] for group in found["breakdowns"]["weekday"]] == ["Monday", "Tuesday"]
    assert found["curve"][-1]["value"] == "1029.00"


def test_a_symbol_a_magic_number_and_days_narrow_it(scene: Scene) -> None:
    gold = scene.get("/statistics?symbol=XAUUSD")
    assert (gold["account"], gold["trades"]["net"]) == (None, "-21.00")
    assert scene.get("/statistics?magic=7")["trades"]["net"] == "50.00"
    tuesday = scene.get("/statistics?since=2026-03-03")
    assert (tuesday["trades"]["trades"], tuesday["account"]["deposits"]) == (1, "0.00")
    assert tuesday["account"]["gain"] == pytest.approx(-21 / 1050)
    assert scene.get("/statistics?until=2026-03-02")["trades"]["net"] == "50.00"
    assert scene.get("/statistics?since=2026-03-03&until=2026-03-02", 422)["code"] == "invalid_input"
    assert "bot_id" in str(scene.get("/statistics?bot_id=bot_nobody", 422)["errors"])


def test_days_of_a_month(scene: Scene) -> None:
    found = scene.get("/calendar?month=2026-03")
    assert [(each["day"], each["result"], each["flow"], each["trades"]) for each in found["items"]] == [
        ("2026-03-02", "50.00", "1000.00", 1),
        ("2026-03-03", "-21.00", "0.00", 1),
    ]
    assert scene.get("/calendar?month=2026-02")["items"] == []
    gold = scene.get("/calendar?month=2026-03&symbol=XAUUSD")["items"]
    assert [(each["day"], each["result"], each["balance"]) for each in gold] == [("2026-03-03", "-21.00", None)]
    assert scene.get("/calendar?month=2026-13", 422)["status"] == 422


def test_files_hold_what_the_lists_hold(scene: Scene) -> None:
    header, *rows = scene.file("/deals?symbol=XAUUSD")
    assert [row[header.index("ticket")] for row in rows] == ["5", "4"]
    assert rows[0][header.index("comment")] == "'=1+1"
    assert rows[0][header.index("profit")] == "-21"
    assert len(scene.file("/deals?separator=semicolon", ";")) == 6
    header, order = scene.file("/history-orders")
    assert order[header.index("comment")] == "'@evil"
    header, position = scene.file("/positions")
    assert position[header.index("ticket")] == "9"
    figures = {(group, name): value for group, name, value in scene.file("/statistics")[1:]}
    assert figures["trades", "net"] == "29"
    assert figures["net by symbol", "XAUUSD"] == "-21"


def test_a_stranger_gets_no_file(scene: Scene) -> None:
    for name in ("deals", "history-orders", "positions", "statistics"):
        response = scene.trader.request("GET", f"/accounts/acc_00000000000000000000000000/exports/{name}")
        assert response.status_code == 404
