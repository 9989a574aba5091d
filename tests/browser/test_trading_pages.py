"""Webhooks, bots with their history, copy trading and the kill switch, in a real browser on a running demo."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from standardwebhooks import Webhook

from tests.browser.test_new_trader import CHROMIUM, DESKTOP, FLAGS, PHONE, fill_sign_in, fits, shot
from tests.demo_farm import DemoFarm

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


class Receiver:
    """A program of the trader's that takes webhooks."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """The tests' output is no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def page(farm: DemoFarm) -> Iterator[Page]:
    """Signed in as the trader with three accounts and a bot on each."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport=DESKTOP, color_scheme="light").new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        fill_sign_in(page, farm, *farm.sign_in())
        expect(page.get_by_test_id("account-card")).to_have_count(3)
        yield page
        browser.close()
        # The browser itself reports each refusal; what the page reports is a fault of ours.
        assert [each for each in complaints if not each.startswith("Failed to load resource")] == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def on_a_phone(page: Page, name: str) -> None:
    """The page as it stands has to fit there as well."""
    page.set_viewport_size(PHONE)
    assert fits(page)
    shot(page, f"{name}-phone")
    page.set_viewport_size(DESKTOP)
    assert fits(page)
    shot(page, f"{name}-desktop")


def test_a_webhook_is_added_tried_and_deleted(page: Page, farm: DemoFarm, receiver: Receiver) -> None:
    page.goto(f"{farm.url}/alerts/settings")
    page.get_by_test_id("mode-guard_hit-email").select_option("off")
    page.get_by_test_id("save-events").click()
    expect(page.get_by_test_id("save-events")).to_have_count(0)
    page.get_by_test_id("quiet").check()
    page.get_by_test_id("save-times").click()
    page.get_by_test_id("threshold-value").fill("120")
    page.get_by_test_id("add-threshold").click()
    expect(page.get_by_test_id("threshold")).to_contain_text("Margin level below 120 %")

    page.get_by_test_id("add-webhook").click()
    page.get_by_test_id("webhook-url").fill("https://10.0.0.1/hook")
    page.get_by_test_id("webhook-submit").click()
    expect(page.get_by_test_id("webhook-form")).to_contain_text("private network")
    page.get_by_test_id("webhook-url").fill(receiver.url)
    page.get_by_test_id("webhook-submit").click()
    secret = page.get_by_test_id("secret").inner_text()
    page.get_by_test_id("secret-kept").click()
    page.get_by_test_id("test-webhook").click()
    expect(page.get_by_test_id("delivery")).to_have_attribute("data-state", "delivered", timeout=15_000)
    expect(page.get_by_test_id("delivery")).to_contain_text("Answered 204")
    headers, body = receiver.taken[0]
    assert Webhook(secret).verify(body, headers)["type"] == "alert.test"
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_test_id("mode-guard_hit-email")).to_have_value("off")
    expect(page.get_by_test_id("quiet")).to_be_checked()
    expect(page.get_by_test_id("webhook")).to_have_attribute("data-state", "active")
    on_a_phone(page, "alert-settings")

    page.get_by_test_id("change-webhook").click()
    page.get_by_test_id("webhook-description").fill("For the robot")
    page.get_by_test_id("webhook-submit").click()
    expect(page.get_by_test_id("webhook")).to_contain_text("For the robot")
    page.get_by_test_id("disable-webhook").click()
    expect(page.get_by_test_id("webhook")).to_have_attribute("data-state", "disabled")
    page.get_by_test_id("remove-webhook").click()
    page.get_by_test_id("confirm").click()
    expect(page.get_by_test_id("webhook")).to_have_count(0)


def test_a_parameter_of_a_bot_is_changed_and_taken_back(page: Page, farm: DemoFarm) -> None:
    page.goto(f"{farm.url}/bots")
    rows = page.get_by_test_id("bot-row")
    expect(rows).to_have_count(3)
    expect(page.get_by_test_id("bot-live")).to_have_count(3)
    bot = rows.first
    bot.get_by_test_id("bot-edit").click()
    field = page.locator("[data-testid^=bot-parameter-]").first
    before = field.input_value()
    field.fill("not a number")
    page.get_by_test_id("bot-submit").click()
    expect(page.get_by_test_id("bot-form")).to_contain_text("Enter a number.")
    field.fill(str(int(before) + 1))
    page.get_by_test_id("bot-on-paper").check()
    page.get_by_test_id("bot-submit").click()
    expect(page.get_by_test_id("bot-form")).to_have_count(0)
    expect(bot.get_by_test_id("bot-paper")).to_be_visible()
    on_a_phone(page, "bots")

    bot.get_by_test_id("bot-history").click()
    change = page.get_by_test_id("bot-change")
    expect(change).to_have_count(1)
    expect(change).to_contain_text("by you")
    expect(change).to_contain_text("on paper")
    change.get_by_test_id("bot-revert").click()
    expect(change).to_have_count(2)
    page.keyboard.press("Escape")
    expect(bot.get_by_test_id("bot-live")).to_be_visible()
    bot.get_by_test_id("bot-edit").click()
    expect(field).to_have_value(before)
    page.keyboard.press("Escape")


def test_one_account_follows_another(page: Page, farm: DemoFarm) -> None:
    page.goto(f"{farm.url}/copying")
    page.get_by_test_id("start-copying").click()
    page.get_by_test_id("copy-value").fill("0.5")
    page.get_by_test_id("symbol-map").fill("nonsense")
    page.get_by_test_id("copier-submit").click()
    expect(page.get_by_test_id("copier-form")).to_contain_text("One pair on each line")
    page.get_by_test_id("symbol-map").fill("XAUUSD = GOLD")
    page.get_by_test_id("copy-open").check()
    page.get_by_test_id("copier-submit").click()
    copier = page.get_by_test_id("copier")
    expect(copier).to_have_attribute("data-started", "true", timeout=15_000)
    expect(copier.get_by_test_id("copier-words")).to_contain_text("0.5")

    copier.get_by_test_id("pause-copying").click()
    expect(copier).to_have_attribute("data-state", "paused")
    copier.get_by_test_id("change-copying").click()
    expect(page.get_by_test_id("copy-value")).to_have_value("0.5")
    page.get_by_test_id("most-lots").fill("2")
    page.get_by_test_id("copier-submit").click()
    expect(copier.get_by_test_id("copier-words")).to_contain_text("at most 2 lots")
    copier.get_by_test_id("resume-copying").click()
    expect(copier).to_have_attribute("data-state", "active")
    page.get_by_test_id("copy-invite").click()
    assert len(page.get_by_test_id("secret").inner_text()) > 10
    page.get_by_test_id("secret-kept").click()
    expect(page.get_by_test_id("copy-invitation")).to_contain_text("not used yet")
    on_a_phone(page, "copying")
    copier.get_by_test_id("stop-copying").click()
    page.get_by_test_id("confirm").click()
    expect(page.get_by_test_id("ended-copiers")).to_be_visible()


def test_all_accounts_are_stopped_at_once_and_released(page: Page, farm: DemoFarm) -> None:
    page.goto(f"{farm.url}/kill-switches")
    page.get_by_test_id("kill-new-user").click()
    page.get_by_test_id("kill-reason").fill("Bad news")
    page.get_by_test_id("confirm").click()
    kill = page.get_by_test_id("kill")
    expect(kill).to_have_attribute("data-finished", "true", timeout=30_000)
    expect(kill.get_by_test_id("kill-progress")).to_contain_text("3 of 3")
    expect(kill.get_by_test_id("kill-target")).to_have_count(3)
    on_a_phone(page, "kill-switches")
    kill.get_by_test_id("release").click()
    page.get_by_test_id("confirm").click()
    expect(kill).to_have_attribute("data-released", "true")
