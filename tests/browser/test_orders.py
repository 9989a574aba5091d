"""Every kind of order from the portal's ticket, against the simulated farm, on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.test_new_trader import CHROMIUM, FLAGS, PHONE, connect, fits, shot, sign_up
from tests.demo_farm import DemoFarm

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def farm() -> Iterator[DemoFarm]:
    farm = DemoFarm("--speed", "1")
    try:
        farm.wait_up()
        yield farm
    finally:
        farm.stop()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_context(viewport=PHONE, color_scheme="dark").new_page()
        browser.close()


def test_all_kinds_of_orders_on_a_phone(page: Page, farm: DemoFarm) -> None:
    login, password, server = farm.spare_account()
    sign_up(page, farm, "orders@mt5farm.example")
    connect(page, login, password, server)
    expect(page.get_by_test_id("account-phase")).to_have_attribute("data-phase", "ready", timeout=60_000)
    positions, pending = page.get_by_test_id("position-row"), page.get_by_test_id("pending-row")

    # At the market, with stops in points; the preview says what it needs first.
    page.get_by_test_id("order-unit").select_option("points")
    page.get_by_test_id("order-stop-loss").fill("5000")
    expect(page.get_by_test_id("preview-buy")).to_contain_text("At stop loss", timeout=15_000)
    page.get_by_test_id("order-buy").click()
    expect(positions).to_have_count(1, timeout=15_000)

    # A pending order: placed, changed, cancelled.
    price = float(re.sub(r"[^\d.]", "", page.get_by_test_id("order-buy").inner_text()))
    page.get_by_test_id("order-stop-loss").fill("")
    page.get_by_test_id("order-type").select_option("limit")
    page.get_by_test_id("order-price").fill(f"{price * 0.9:.5f}")
    page.get_by_test_id("order-buy").click()
    expect(pending).to_have_count(1, timeout=15_000)
    pending.get_by_test_id("pending-change").click()
    page.get_by_test_id("change-price").fill(f"{price * 0.8:.5f}")
    page.get_by_test_id("change-submit").click()
    expect(pending).to_contain_text(f"{price * 0.8:.5f}"[:6], timeout=15_000)
    assert fits(page)
    shot(page, "orders-phone-pending")
    pending.get_by_test_id("pending-cancel").click()
    page.get_by_test_id("confirm").click()
    expect(pending).to_have_count(0, timeout=15_000)

    # A position: its stops, a part of it, the rest by one on the other side.
    positions.get_by_test_id("position-manage").click()
    page.get_by_test_id("position-stop-loss").fill("")
    page.get_by_test_id("position-set-stops").click()
    expect(page.get_by_test_id("position-set-stops")).to_have_count(0, timeout=15_000)
    positions.get_by_test_id("position-manage").click()
    page.get_by_test_id("position-close-volume").fill("0.04")
    page.get_by_test_id("position-close-part").click()
    expect(positions).to_contain_text("0.06", timeout=15_000)
    page.get_by_test_id("order-type").select_option("market")
    page.get_by_test_id("order-sell").click()
    expect(positions).to_have_count(2, timeout=15_000)
    positions.first.get_by_test_id("position-manage").click()
    shot(page, "orders-phone-position")
    page.get_by_test_id("position-close-by").click()
    expect(positions).to_have_count(1, timeout=15_000)

    # All that is left, at once; the question says what will happen.
    page.get_by_test_id("close-all").click()
    expect(page.get_by_text("1 position with 0.04 lots")).to_be_visible()
    page.get_by_test_id("confirm").click()
    expect(positions).to_have_count(0, timeout=15_000)
    page.get_by_test_id("history-orders").click()
    expect(page.get_by_test_id("order-row").first).to_have_attribute("data-state", "done")
    assert fits(page)
