"""What a new trader does in the portal, in a real browser: sign up, connect, watch it become ready, trade, run a bot.

Screenshots at phone and desktop width, dark and light, are kept in `test-results/browser/`.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

from tests.demo_farm import ROOT, DemoFarm

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SHOTS = ROOT / "test-results" / "browser"
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """Errors that the page wrote to the console."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP, color_scheme="dark")
    page = context.new_page()

    def listen(message: ConsoleMessage) -> None:
        # A page that opens signed out asks who it is, and the browser reports the 401 as an error.
        if message.type == "error" and "/api/v1/me" not in message.location["url"]:
            complaints.append(message.text)

    page.on("console", listen)
    yield page
    context.close()


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def fits(page: Page) -> bool:
    """Whether nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


PASSWORD = "correct horse battery staple"


def sign_up(page: Page, farm: DemoFarm, email: str = "new.trader@mt5farm.example") -> None:
    page.goto(f"{farm.url}/sign-up")
    page.get_by_test_id("display-name").fill("New trader")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    follow_mail(page, email, "/verify-email#")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()


def follow_mail(page: Page, email: str, link: str) -> None:
    """The demo shows the mail that it would send."""
    page.get_by_test_id("show-mail").click()
    mail = page.get_by_test_id("mail").filter(has_text=email).filter(has_text=link).first
    mail.get_by_test_id("mail-link").click()


def fill_sign_in(page: Page, farm: DemoFarm, email: str, password: str) -> None:
    page.goto(f"{farm.url}/sign-in")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("submit").click()


def sign_out(page: Page) -> None:
    page.get_by_test_id("user-menu").click()
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("sign-in-form")).to_be_visible()


def connect(page: Page, login: str, password: str, server: str) -> None:
    page.get_by_test_id("connect-account").first.click()
    page.get_by_test_id("server").fill(server)
    page.get_by_test_id("server-option").first.click()
    page.get_by_test_id("login").fill(login)
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("connect-submit").click()


def test_a_new_trader_connects_trades_and_runs_a_bot(page: Page, farm: DemoFarm, complaints: list[str]) -> None:
    login, password, server = farm.spare_account()
    sign_up(page, farm)
    shot(page, "1-empty-dashboard")

    connect(page, login, password, server)
    expect(page.get_by_test_id("account-phase")).to_have_attribute("data-phase", "ready", timeout=30_000)

    page.get_by_test_id("order-volume").fill("0.10")
    page.get_by_test_id("order-buy").click()
    expect(page.get_by_test_id("toast").first).to_be_visible()
    rows = page.get_by_test_id("position-row")
    expect(rows).to_have_count(1, timeout=15_000)
    expect(page.get_by_test_id("price-chart").locator("canvas").first).to_be_visible()
    shot(page, "2-position-open")

    page.get_by_test_id("position-close").first.click()
    page.get_by_test_id("confirm").click()
    expect(rows).to_have_count(0, timeout=15_000)
    expect(page.get_by_test_id("deal-row")).to_have_count(3, timeout=15_000)  # deposit, opening deal, closing deal
    shot(page, "3-trade-log")

    page.get_by_test_id("bot-create").click()
    page.get_by_test_id("bot-submit").click()
    phase_of_bot = page.get_by_test_id("bot-phase").first
    page.get_by_test_id("bot-start").first.click()
    expect(phase_of_bot).to_have_attribute("data-phase", "running", timeout=20_000)
    shot(page, "4-bot-running")
    page.get_by_test_id("bot-stop").first.click()
    expect(phase_of_bot).to_have_attribute("data-phase", "stopped", timeout=20_000)

    expect(page.get_by_test_id("equity-chart").locator("canvas").first).to_be_visible()
    assert complaints == []


def test_a_second_factor_is_enrolled_and_asked_for_and_a_reset_does_not_skip_it(page: Page, farm: DemoFarm) -> None:
    email = "careful@mt5farm.example"
    sign_up(page, farm, email)
    page.goto(f"{farm.url}/settings")
    shot(page, "6-settings")
    page.get_by_test_id("enrol-second-factor").click()
    app = pyotp.TOTP(page.get_by_test_id("totp-secret").inner_text())
    shot(page, "7-authenticator-app")
    page.get_by_test_id("enrol-code").fill(app.now())
    page.get_by_test_id("enrol-submit").click()
    codes = page.get_by_test_id("recovery-codes").locator("li")
    expect(codes).to_have_count(10)
    recovery = codes.all_inner_texts()
    shot(page, "8-recovery-codes")
    page.get_by_test_id("codes-kept").click()
    expect(page.get_by_test_id("second-factor")).to_have_attribute("data-enrolled", "true")
    sign_out(page)

    fill_sign_in(page, farm, email, PASSWORD)
    page.get_by_test_id("code").fill("000000")
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("form-error")).to_be_visible()
    shot(page, "9-code-asked")
    page.get_by_test_id("code").fill(app.at(int(time.time()) + 30))  # the present one was used for the enrolment
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()
    sign_out(page)

    page.get_by_test_id("forgot-password").click()
    expect(page.get_by_test_id("forgot-form")).to_be_visible()
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("submit").click()
    follow_mail(page, email, "/reset-password#")
    page.get_by_test_id("password").fill("another four good words")
    page.get_by_test_id("submit").click()
    page.get_by_test_id("code").fill(recovery[0])
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("sign-in-form")).to_be_visible()
    fill_sign_in(page, farm, email, "another four good words")
    page.get_by_test_id("code").fill(recovery[1])
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()


def test_a_trader_ends_a_session_and_makes_a_key(page: Page, browser: Browser, farm: DemoFarm) -> None:
    sign_up(page, farm, "tidy@mt5farm.example")
    with farm.new_client() as elsewhere:
        body = {"email": "tidy@mt5farm.example", "password": PASSWORD}
        assert elsewhere.post("/auth/sign-in", json=body).status_code == 200
        page.goto(f"{farm.url}/settings")
        expect(page.get_by_test_id("session")).to_have_count(2)
        page.get_by_test_id("end-session").click()
        expect(page.get_by_test_id("session")).to_have_count(1)
        assert elsewhere.get("/me").status_code == 401
        page.get_by_test_id("key-name").fill("Robot")
        page.get_by_test_id("make-key").click()
        key = page.get_by_test_id("new-key").inner_text()
        elsewhere.cookies.clear()
        assert elsewhere.get("/me", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    shot(page, "10-new-key")
    assert fits(page)


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "viewport"), [("phone", PHONE), ("desktop", DESKTOP)])
def test_every_page_fits_and_is_kept_as_a_picture(
    browser: Browser, farm: DemoFarm, scheme: str, width: str, viewport: dict[str, int]
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{farm.url}/sign-in")
    assert fits(page)
    shot(page, f"sign-in-{width}-{scheme}")
    email, password = farm.sign_in()
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(password)
    page.keyboard.press("Enter")
    cards = page.get_by_test_id("account-card")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text(re.compile("ready", re.IGNORECASE))
    assert fits(page)
    shot(page, f"dashboard-{width}-{scheme}")
    cards.first.click()
    expect(page.get_by_test_id("price-chart").locator("canvas").first).to_be_visible()
    expect(page.get_by_test_id("account-phase")).to_have_attribute("data-phase", "ready")
    assert fits(page)
    shot(page, f"account-{width}-{scheme}")
    page.goto(f"{farm.url}/settings")
    expect(page.get_by_test_id("session").first).to_be_visible()
    assert fits(page)
    shot(page, f"settings-{width}-{scheme}")
    page.goto(f"{farm.url}/mail")
    expect(page.get_by_test_id("mail").first).to_be_visible()
    assert fits(page)
    context.close()


def test_a_wrong_broker_password_is_said_and_can_be_corrected(page: Page, farm: DemoFarm) -> None:
    sign_up(page, farm, "mistaken@mt5farm.example")
    connect(page, "500005", "not the password", "MT5Farm-Demo")
    correction = page.get_by_test_id("credentials")
    expect(correction).to_be_visible(timeout=60_000)
    shot(page, "5-wrong-password")


def test_a_login_is_tried_before_it_is_connected_and_its_reliability_is_shown(
    page: Page, farm: DemoFarm, complaints: list[str]
) -> None:
    _, _, server = farm.spare_account()
    fill_sign_in(page, farm, *farm.sign_in())
    expect(page.get_by_test_id("account-card").first).to_be_visible()

    page.goto(f"{farm.url}/connect")
    page.get_by_test_id("server").fill(f"{server[:4]}{server[5:]}")  # a letter is missing
    expect(page.get_by_test_id("did-you-mean")).to_be_visible()
    shot(page, "suggestion-desktop")
    page.get_by_test_id("server-option").first.click()
    expect(page.get_by_test_id("server")).to_have_value(server)
    page.get_by_test_id("login").fill("999999")
    page.get_by_test_id("password").fill("wrong")
    page.get_by_test_id("connect-test").click()
    outcome = page.get_by_test_id("test-result")
    expect(outcome).to_have_attribute("data-outcome", "refused", timeout=60_000)
    page.set_viewport_size(PHONE)
    assert fits(page)
    shot(page, "connection-test-phone")
    page.set_viewport_size(DESKTOP)

    page.goto(farm.url)
    page.get_by_test_id("account-card").first.click()
    expect(page.get_by_test_id("account-words")).to_contain_text(re.compile(r"Connected; last answer \d+ s ago"))
    expect(page.get_by_test_id("uptime")).to_contain_text(re.compile(r"\d+(\.\d+)? %"))
    page.get_by_test_id("account-menu").click()
    page.get_by_test_id("account-move").click()
    page.get_by_test_id("confirm").click()
    # The demo has one node; a bot that holds a position asks about that first.
    expect(page.get_by_text(re.compile("Not moved|Move it with open positions"))).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_test_id("account-menu").click()
    page.get_by_test_id("account-restart").click()
    page.get_by_test_id("confirm").click()
    expect(page.get_by_test_id("timeline")).to_contain_text("A restart was asked for.", timeout=30_000)
    expect(page.get_by_test_id("account-phase")).to_have_attribute("data-phase", "ready", timeout=60_000)
    page.get_by_test_id("timeline-detailed").check()
    expect(page.get_by_test_id("timeline")).to_contain_text("absent")
    shot(page, "account-life-desktop")
    page.set_viewport_size(PHONE)
    assert fits(page)
    shot(page, "account-life-phone")
    assert [each for each in complaints if "409" not in each] == []
