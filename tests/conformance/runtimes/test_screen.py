"""People look at a terminal's screen through the whole farm: portal, control plane, gateway, container, Wine's window.

Everything is real but terminal64.exe: a stand-in whose window is of one colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from mt5_bridge.client import BridgeError, MetaTrader5
from tests.browser.test_new_trader import CHROMIUM, DESKTOP, FLAGS, PHONE, fits, shot
from tests.conformance.runtimes.framebuffer import Screen
from tests.conformance.runtimes.screen_farm import ScreenFarm
from tests.demo_farm import wait_for

GREEN = (0x12, 0x9A, 0x5E)
MOST_OF_THE_WINDOW = 300 * 200 * 3 // 4
SEES_GREEN = """
    (colour) => {
        const canvas = document.querySelector("[data-testid=screen] canvas")
        if (!canvas || canvas.width < 200) return false
        const seen = canvas.getContext("2d").getImageData(100, 100, 1, 1).data
        return colour.every((part, index) => seen[index] === part)
    }
"""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def farm(image: str, stand_in: Path) -> Iterator[ScreenFarm]:
    farm = ScreenFarm(image, stand_in)
    try:
        farm.start()
        yield farm
    finally:
        farm.close()


def green_is_seen(screen: Screen) -> None:
    wait_for(lambda: screen.look().count(GREEN) > MOST_OF_THE_WINDOW, 30)


def reason_of(socket: ClientConnection) -> tuple[int, str]:
    """With what the farm closes it."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(30)
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


def refusal(farm: ScreenFarm, ticket: str) -> tuple[int, str]:
    with farm.socket() as socket:
        socket.send(ticket)
        return reason_of(socket)


def test_the_owner_sees_the_window_and_cannot_touch_it(farm: ScreenFarm) -> None:
    with farm.socket() as socket:
        screen = Screen(socket, farm.ticket()["ticket"])
        assert (screen.width, screen.height) == (1280, 800)
        green_is_seen(screen)
        screen.click(100, 100)
        screen.press(0x41)
        for _ in range(3):
            screen.look()
        assert "touched" not in farm.stand_in_log()


def test_nothing_is_shown_while_nobody_looks_and_who_looks_is_nobody_special(farm: ScreenFarm) -> None:
    wait_for(lambda: "x11vnc" not in farm.commands(), 20)
    with farm.socket() as socket:
        Screen(socket, farm.ticket()["ticket"])
        rows = farm.container().top(ps_args="-eo pid,comm")["Processes"]
        [pid] = [row[0] for row in rows if row[1] == "x11vnc"]
        status = Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Uid:\t0" not in status
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000", "looking ends before the terminal does"
    wait_for(lambda: "x11vnc" not in farm.commands(), 20)


def test_a_ticket_opens_what_it_is_for_and_once(farm: ScreenFarm) -> None:
    ticket = farm.ticket()
    with farm.socket() as socket:
        Screen(socket, ticket["ticket"])
    assert refusal(farm, ticket["ticket"]) == (
        4403,
        "The screen was not shown: the ticket was used before; ask for a new one.",
    )
    trade = farm.ticket("trade")["ticket"]
    assert refusal(farm, trade) == (4403, "The screen is not shown: the ticket is for something else.")
    view = farm.ticket()
    with farm.socket(Cookie=farm.somebody_else()) as socket:
        socket.send(view["ticket"])
        assert reason_of(socket) == (4403, "The screen is not shown: the ticket is for something else.")
    with pytest.raises(BridgeError) as refused:
        MetaTrader5(view["gateway"], ticket=view["ticket"], ca=view["ca_pem"], server_name=view["server_name"])
    assert refused.value.code == "ticket_other_scope"
    with farm.socket() as socket:  # what was refused elsewhere is not used up
        Screen(socket, view["ticket"])


@pytest.mark.parametrize("end", ["revoke", "end-sessions"])
def test_a_view_ends_with_its_permission(farm: ScreenFarm, end: str) -> None:
    ticket = farm.ticket()
    account = f"/accounts/{farm.account_id}"
    ways: dict[str, Callable[[], httpx.Response]] = {
        "revoke": lambda: farm.http.delete(f"{account}/tickets/{ticket['ticket_id']}"),
        "end-sessions": lambda: farm.http.post(f"{account}/end-sessions"),
    }
    with farm.socket() as socket:
        Screen(socket, ticket["ticket"])
        assert ways[end]().is_success
        assert reason_of(socket) == (4410, "The view has ended.")


@pytest.mark.parametrize(("headers", "status"), [({"Origin": "http://evil.example"}, 403), ({"Cookie": ""}, 401)])
def test_only_the_farms_own_pages_and_people_come_in(farm: ScreenFarm, headers: dict[str, Any], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        farm.socket(**headers)
    assert refused.value.response.status_code == status
    assert b"urn:mt5farm:problem:" in refused.value.response.body


def test_one_client_cannot_take_all_views(farm: ScreenFarm) -> None:
    with farm.socket() as first, farm.socket() as second:
        for socket in (first, second):
            Screen(socket, farm.ticket()["ticket"])
        code, words = refusal(farm, farm.ticket()["ticket"])
        assert (code, "too often" in words) == (4403, True)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_portal_shows_it_on_phone_and_laptop(farm: ScreenFarm) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=PHONE)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.context.add_cookies([{"name": n, "value": v, "url": farm.url} for n, v in farm.http.cookies.items()])
        page.goto(f"{farm.url}/accounts/{farm.account_id}")
        page.get_by_test_id("account-menu").click()
        page.get_by_test_id("account-screen").click()
        for name, viewport in (("phone", PHONE), ("laptop", DESKTOP)):
            page.set_viewport_size(viewport)
            for _ in ("in whole", "in its own size"):
                expect(page.get_by_test_id("screen")).to_have_attribute("data-state", "shown", timeout=30_000)
                page.wait_for_function(SEES_GREEN, arg=list(GREEN), timeout=30_000)
                assert fits(page)
                page.get_by_test_id("screen-fit").click()
            shot(page, f"screen-{name}")
        assert farm.http.post(f"/accounts/{farm.account_id}/end-sessions").is_success
        expect(page.get_by_test_id("screen-words")).to_have_text("The view has ended.", timeout=30_000)
        page.get_by_test_id("screen-again").click()
        expect(page.get_by_test_id("screen")).to_have_attribute("data-state", "shown", timeout=30_000)
        assert complaints == []
        browser.close()
