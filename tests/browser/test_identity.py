"""Passkeys, invitations and a new e-mail address in a real browser, whose authenticator is a virtual one.

The farm is `mt5farm serve` with its mail shown. Screenshots are kept in `test-results/browser/`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect, sync_playwright

from tests.demo_farm import ROOT, wait_for
from tests.ports import free_ports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
SHOTS = ROOT / "test-results" / "browser"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
PASSWORD = "correct horse battery staple"
OWNER = "owner@mt5farm.example"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@dataclass(frozen=True)
class ServedFarm:
    url: str
    data: Path

    def appoint(self, email: str) -> None:
        """As if an owner had made somebody a manager of the tenant."""
        with sqlite3.connect(self.data / "farm.sqlite3", timeout=30) as database:
            database.execute("UPDATE users SET role = 'broker_admin' WHERE email = ?", (email,))

    def let_proofs_age(self) -> None:
        """As if everybody had signed in long ago."""
        with sqlite3.connect(self.data / "farm.sqlite3", timeout=30) as database:
            database.execute("UPDATE user_sessions SET proved_at = '2020-01-01 00:00:00.000000'")


@pytest.fixture(scope="module")
def farm() -> Iterator[ServedFarm]:
    data, port = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp")), free_ports(2)
    url = f"http://localhost:{port}"
    command = [sys.executable, "-m", "control_plane.cli"]
    environment = {**os.environ, "MT5FARM_PUBLIC_URL": url}
    add = [*command, "users", "add", OWNER, "--name", "Owner", "--role", "owner", "--data", str(data)]
    subprocess.run(add, input=PASSWORD.encode(), check=True, cwd=ROOT, env=environment, capture_output=True)
    serve = [*command, "serve", "--show-mail", "--data", str(data), "--port", str(port), "--agent-port", str(port + 1)]
    log = data / "serve.out"
    with log.open("wb") as output:
        process = subprocess.Popen(serve, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
    try:
        wait_for(lambda: process.poll() is not None or _answers(url), 60, log.read_text)
        assert process.poll() is None, log.read_text()
        yield ServedFarm(url, data)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(data)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["laptop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=request.param, color_scheme="light")
    yield context.new_page()
    context.close()


class Device:
    """The authenticator that is built into the browser's machine."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable")
        options: dict[str, Any] = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self._id = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def recognise_user(self, recognised: bool) -> None:
        wish = {"authenticatorId": self._id, "isUserVerified": recognised}
        self._session.send("WebAuthn.setUserVerified", wish)

    def passkeys(self) -> int:
        return len(self._session.send("WebAuthn.getCredentials", {"authenticatorId": self._id})["credentials"])


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    width = (page.viewport_size or {"width": 0})["width"]
    page.screenshot(path=SHOTS / f"{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name


def follow_mail(page: Page, farm: ServedFarm, email: str, link: str) -> None:
    page.goto(f"{farm.url}/mail")
    mail = page.get_by_test_id("mail").filter(has_text=email).filter(has_text=link).first
    mail.get_by_test_id("mail-link").filter(has_text=link).click()


def sign_up(page: Page, farm: ServedFarm, email: str) -> None:
    page.goto(f"{farm.url}/sign-up")
    page.get_by_test_id("display-name").fill("New trader")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("show-mail")).to_be_visible()
    follow_mail(page, farm, email, "/verify-email#")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()


def sign_out(page: Page, farm: ServedFarm) -> None:
    page.evaluate("() => fetch('/api/v1/auth/sign-out', {method: 'POST'})")
    page.goto(f"{farm.url}/sign-in")
    expect(page.get_by_test_id("sign-in-form")).to_be_visible()


def width_of(page: Page) -> int:
    return (page.viewport_size or {"width": 0})["width"]


def test_a_passkey_is_added_signs_in_backs_the_password_steps_up_and_is_removed(page: Page, farm: ServedFarm) -> None:
    email = f"careful{width_of(page)}@mt5farm.example"
    device = Device(page)
    sign_up(page, farm, email)

    page.goto(f"{farm.url}/settings")
    page.get_by_test_id("passkey-name").fill("My laptop")
    page.get_by_test_id("add-passkey").click()
    expect(page.get_by_test_id("recovery-codes").locator("li")).to_have_count(10)
    page.get_by_test_id("codes-kept").click()
    expect(page.get_by_test_id("passkey")).to_contain_text("My laptop")
    assert device.passkeys() == 1
    shot(page, "20-passkeys")

    page.get_by_test_id("add-passkey").click()  # the same device again
    expect(page.get_by_test_id("passkey-problem")).to_contain_text("has a passkey for your account already")

    sign_out(page, farm)
    shot(page, "21-sign-in-with-a-passkey")
    page.get_by_test_id("use-passkey").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()

    sign_out(page, farm)
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("code")).to_be_visible()
    page.get_by_test_id("use-passkey").click()
    expect(page.get_by_test_id("connect-account").first).to_be_visible()

    farm.let_proofs_age()
    page.goto(f"{farm.url}/settings")
    expect(page.get_by_test_id("passkey")).to_contain_text("used")
    page.get_by_test_id("remove-passkey").click()
    page.get_by_test_id("step-up-passkey").click()
    expect(page.get_by_test_id("passkey")).to_have_count(0)

    sign_out(page, farm)
    page.get_by_test_id("use-passkey").click()  # the device still has it, the farm does not
    expect(page.get_by_test_id("form-error")).to_contain_text("was not accepted")


def test_a_device_that_does_not_recognise_its_user_makes_no_passkey(page: Page, farm: ServedFarm) -> None:
    device = Device(page)
    sign_up(page, farm, f"hasty{width_of(page)}@mt5farm.example")
    device.recognise_user(False)
    page.goto(f"{farm.url}/settings")
    page.get_by_test_id("add-passkey").click()
    expect(page.get_by_test_id("passkey-problem")).to_be_visible()
    assert device.passkeys() == 0
    expect(page.get_by_test_id("passkey")).to_have_count(0)


def test_an_address_without_a_name_says_where_passkeys_are(page: Page, farm: ServedFarm) -> None:
    page.goto(farm.url.replace("localhost", "127.0.0.1") + "/sign-in")
    expect(page.get_by_test_id("sign-in-form")).to_be_visible()
    expect(page.get_by_test_id("use-passkey")).to_have_count(0)


def test_somebody_is_invited_joins_and_moves_to_another_address(page: Page, farm: ServedFarm) -> None:
    width = width_of(page)
    guest, moved = f"guest{width}@mt5farm.example", f"moved{width}@mt5farm.example"
    Device(page)
    page.goto(f"{farm.url}/sign-in")
    with_passkey = page.get_by_test_id("use-passkey")
    expect(with_passkey).to_be_visible()
    invite_as_owner(farm, guest)
    follow_mail(page, farm, guest, "/accept-invitation#")
    page.get_by_test_id("display-name").fill("Guest")
    page.get_by_test_id("password").fill(PASSWORD)
    shot(page, "22-invited")
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("second-factor-missing")).to_be_visible()  # support needs one

    page.get_by_test_id("new-email").fill(moved)
    page.get_by_test_id("change-email").click()
    expect(page.get_by_test_id("show-mail")).to_be_visible()
    follow_mail(page, farm, moved, "/confirm-email#")
    shot(page, "23-confirm-email")
    page.get_by_test_id("submit").click()
    expect(page.get_by_text(moved).first).to_be_visible()

    follow_mail(page, farm, guest, "/undo-email-change#")
    shot(page, "24-undo-email")
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("undone")).to_be_visible()
    page.goto(f"{farm.url}/settings")
    expect(page.get_by_test_id("sign-in-form")).to_be_visible()


def test_a_manager_stops_one_person_and_gives_plans(page: Page, farm: ServedFarm, browser: Browser) -> None:
    manager, member = (f"{name}{width_of(page)}@mt5farm.example" for name in ("manager", "member"))
    elsewhere = browser.new_context()
    sign_up(elsewhere.new_page(), farm, member)
    elsewhere.close()
    Device(page)
    sign_up(page, farm, manager)
    page.goto(f"{farm.url}/settings")
    page.get_by_test_id("passkey-name").fill("My laptop")
    page.get_by_test_id("add-passkey").click()
    page.get_by_test_id("codes-kept").click()
    farm.appoint(manager)

    page.goto(f"{farm.url}/kill-switches")
    expect(page.get_by_test_id("kill-new-member")).to_be_disabled()
    page.get_by_test_id("kill-member").select_option(label=f"New trader ({member})")
    shot(page, "26-kill-one-person")
    page.get_by_test_id("kill-new-member").click()
    expect(page.get_by_test_id("confirm")).to_be_disabled()
    page.get_by_test_id("kill-reason").fill("Asked for by phone")
    shot(page, "27-kill-one-person-asked")
    page.get_by_test_id("confirm").click()
    kill = page.get_by_test_id("kill").first
    expect(kill).to_contain_text("All accounts of one person: no new orders")
    expect(kill).to_contain_text("Asked for by phone")
    shot(page, "28-one-person-killed")

    for email, plan in ((member, "Free"), (manager, "Pro")):
        give_plan(page, farm, email, plan)
    expect(page.get_by_test_id("plan-name")).to_have_text("Pro")
    shot(page, "30-own-plan")


def give_plan(page: Page, farm: ServedFarm, email: str, plan: str) -> None:
    page.goto(f"{farm.url}/settings")
    page.get_by_test_id("plan-member").select_option(label=f"{email}, no plan")
    expect(page.get_by_test_id("give-plan")).to_be_disabled()
    expect(page.get_by_test_id("plan")).to_have_count(0)
    page.get_by_test_id("plan-choice").select_option(label=plan)
    page.get_by_test_id("plan-reason").fill("Agreed by phone")
    shot(page, f"29-plan-{plan.lower()}")
    page.get_by_test_id("give-plan").click()
    expect(page.get_by_text(f"{email}: {plan}.").first).to_be_visible()


def invite_as_owner(farm: ServedFarm, email: str) -> None:
    """From the machine, as the operator invites the first of a broker."""
    command = [sys.executable, "-m", "control_plane.cli", "users", "invite", email, "--role", "support"]
    environment = {**os.environ, "MT5FARM_PUBLIC_URL": farm.url}
    subprocess.run([*command, "--data", str(farm.data)], check=True, cwd=ROOT, env=environment, capture_output=True)
