"""From what happens to what users are told: in the portal, by mail, to webhooks and by Telegram."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from control_plane.alerts.outbound import Outbound, networks
from control_plane.alerts.telegram import TelegramBot
from node_agent.protocol.messages import Phase, Reason
from tests.tenants import two_tenants
from tests.unit.control_plane.world import NodePlayer, Trader, World, browser, link_in, mail_to, observed, snapshot

pytestmark = pytest.mark.both_databases
PASSWORD = "correct horse battery"


@dataclass
class Receiver:
    """A real HTTP server that remembers what it was sent, and answers as it is told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    json: Any = None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.answers.pop(0) if made.answers else 200)
            content = json.dumps(made.json).encode()
            self.send_header("location", made.url)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def let_out(world: World) -> None:
    """Webhooks may lead to this machine."""
    outbound = Outbound(networks("127.0.0.0/8"))
    world.farm.alerts._outbound = outbound
    world.farm.webhooks._outbound = outbound


def refused(world: World) -> tuple[Trader, NodePlayer, Any]:
    """Somebody whose terminal was ready, and is refused by its broker."""
    trader, node = world.trader(), world.node()
    _, wanted = world.ready_account(trader, node)
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    return trader, node, wanted


def bell(trader: Trader) -> dict[str, Any]:
    found: dict[str, Any] = trader.call("GET", "/alerts")
    return found


def test_a_refused_login_is_told_once_and_its_end_as_well(world: World) -> None:
    trader, node, wanted = refused(world)
    for _ in range(3):
        world.run_loops()
    told = bell(trader)
    assert [each["event"] for each in told["items"]] == ["login_refused"]
    assert told["unread"] == 1
    assert told["items"][0]["resolved_at"] is None
    assert "refused the password" in mail_to(world.farm, trader.email)
    node.make_ready(wanted, account=snapshot())
    world.run_loops()
    assert bell(trader)["items"][0]["resolved_at"] is not None
    world.run_loops()
    assert world.farm.recorded_post is not None
    subjects = [each.subject for each in world.farm.recorded_post.newest(10) if "password" in each.subject]
    assert len(subjects) == 2
    assert sum("Over:" in each for each in subjects) == 1


def test_a_login_that_flaps_is_counted_and_not_told_again(world: World) -> None:
    trader, node, wanted = refused(world)
    world.run_loops()
    for _ in range(3):
        world.clock.advance(seconds=20)
        node.make_ready(wanted, account=snapshot(), last_answer_at=world.clock.now())
        world.run_loops()
        node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
        world.run_loops()
    told = [each for each in bell(trader)["items"] if each["event"] == "login_refused"]
    assert len(told) == 1
    assert told[0]["count"] == 4


def test_reading_empties_the_bell_of_one_user_alone(world: World) -> None:
    trader, _, _ = refused(world)
    world.run_loops()
    other = world.trader("other@example.com")
    other.call("POST", "/alerts/read", 204, {})
    assert bell(trader)["unread"] == 1
    assert bell(other)["items"] == []
    trader.call("POST", "/alerts/read", 204, {})
    assert bell(trader)["unread"] == 0


def test_what_is_silent_comes_in_one_digest_with_a_link_that_ends_it(world: World) -> None:
    trader, node, _ = refused(world)
    settings = trader.call("GET", "/alerts/settings")
    for each in settings["modes"].values():
        each["email"] = "silent"
    settings["digest"] = "hourly"
    wish = {name: value for name, value in settings.items() if name not in {"urgent", "telegram_available"}}
    trader.call("PUT", "/alerts/settings", 200, wish)
    world.run_loops()
    before = len(world.farm.recorded_post.newest(50))  # type: ignore[union-attr]
    world.let_pass(3700, node)
    world.run_loops()
    text = mail_to(world.farm, trader.email)
    assert "refused the password" in text
    assert world.farm.recorded_post is not None
    assert len(world.farm.recorded_post.newest(50)) == before + 1
    out = browser(world.farm).post("/api/v1/alerts/unsubscribe", json={"token": link_in(text)})
    assert out.status_code == 200
    assert "login_refused" in out.json()["events"]
    assert "new_sign_in" not in out.json()["events"]
    assert trader.call("GET", "/alerts/settings")["modes"]["login_refused"]["email"] == "off"
    again = browser(world.farm).post("/api/v1/alerts/unsubscribe", json={"token": link_in(text)})
    assert again.status_code == 400


def test_a_webhook_is_signed_so_that_an_independent_library_believes_it(world: World, receiver: Receiver) -> None:
    let_out(world)
    trader, node = world.trader(), world.node()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    _, wanted = world.ready_account(trader, node)
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    world.run_loops()
    world.run_loops()
    headers, body = receiver.seen[0]
    assert json.loads(body)["type"] == "alert.login_refused.raised"
    with pytest.raises(WebhookVerificationError):
        _verify(added["secret"], headers, body + b" ", world)
    _verify(added["secret"], headers, body, world)
    deliveries = trader.call("GET", f"/webhooks/{added['id']}/deliveries")["items"]
    assert [each["state"] for each in deliveries] == ["delivered"]
    assert deliveries[0]["status_code"] == 200


def _verify(secret: str, headers: dict[str, str], body: bytes, world: World) -> None:
    """The library reads the real clock, which the farm of a test does not follow."""
    with patch("standardwebhooks.webhooks.datetime") as clock:
        clock.now.return_value = world.clock.now()
        clock.fromtimestamp = datetime.fromtimestamp
        Webhook(secret).verify(body, headers)


def test_after_a_rotation_both_secrets_verify_and_a_day_later_only_the_new_one(
    world: World, receiver: Receiver
) -> None:
    let_out(world)
    trader = world.trader()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    rotated = trader.call("POST", f"/webhooks/{added['id']}/rotate-secret", 200)
    assert rotated["secret"] != added["secret"]
    trader.call("POST", f"/webhooks/{added['id']}/test", 202)
    world.run_loops()
    for secret in (added["secret"], rotated["secret"]):
        _verify(secret, *receiver.seen[0], world)
    world.clock.advance(hours=25)
    trader.call("POST", f"/webhooks/{added['id']}/test", 202)
    world.run_loops()
    _verify(rotated["secret"], *receiver.seen[1], world)
    with pytest.raises(WebhookVerificationError):
        _verify(added["secret"], *receiver.seen[1], world)


def test_a_receiver_that_fails_is_tried_again_and_given_up_after_hours(world: World, receiver: Receiver) -> None:
    let_out(world)
    receiver.answers = [500, 302, *[503] * 50]
    trader, node = world.trader(), world.node()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    _, wanted = world.ready_account(trader, node)
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    for _ in range(60):
        world.run_loops()
        world.clock.advance(minutes=30)
    url = f"/webhooks/{added['id']}"
    dead = [each for each in trader.call("GET", f"{url}/deliveries")["items"] if each["state"] == "dead"]
    assert dead
    assert dead[-1]["attempts"] == 10
    first = [headers["webhook-id"] for headers, _ in receiver.seen if headers["webhook-id"] == dead[-1]["message_id"]]
    assert len(first) == 10, "the same message each time, and a redirect is not followed"
    shown = trader.call("GET", url)
    assert shown["state"] == "disabled"
    assert "503" in shown["disabled_reason"]
    assert "webhook_disabled" in [each["event"] for each in bell(trader)["items"]]
    receiver.answers = []
    trader.call("PUT", url, 200, {"url": receiver.url})
    again = trader.call("POST", f"{url}/deliveries/{dead[-1]['id']}/replay", 202)
    world.run_loops()
    assert again["message_id"] == dead[-1]["message_id"] == receiver.seen[-1][0]["webhook-id"]


def test_a_receiver_that_wants_no_more_is_disabled_at_once_and_its_owner_told(world: World, receiver: Receiver) -> None:
    let_out(world)
    receiver.answers = [410]
    trader, node = world.trader(), world.node()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    _, wanted = world.ready_account(trader, node)
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    for _ in range(3):
        world.run_loops()
        world.clock.advance(minutes=1)
    shown = trader.call("GET", f"/webhooks/{added['id']}")
    assert (shown["state"], shown["disabled_reason"]) == ("disabled", "The receiver answered 410.")
    assert len(receiver.seen) == 1
    assert "A webhook was disabled" in mail_to(world.farm, trader.email)


def test_a_message_that_one_receiver_never_takes_does_not_end_all_others(world: World, receiver: Receiver) -> None:
    let_out(world)
    trader, node = world.trader(), world.node()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    _, wanted = world.ready_account(trader, node)
    receiver.answers = [400]
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    world.run_loops()
    world.run_loops()
    url = f"/webhooks/{added['id']}"
    (refused_one,) = trader.call("GET", f"{url}/deliveries")["items"]
    assert (refused_one["status_code"], refused_one["state"]) == (400, "pending")
    world.clock.advance(seconds=1)
    trader.call("POST", f"{url}/test", 202)
    world.run_loops()
    receiver.answers = [400] * 50
    for _ in range(50):
        world.clock.advance(minutes=30)
        world.run_loops()
    states = {each["id"]: each["state"] for each in trader.call("GET", f"{url}/deliveries")["items"]}
    assert states[refused_one["id"]] == "dead"
    assert trader.call("GET", url)["state"] == "active"


def test_after_two_rotations_the_oldest_secret_signs_no_more(world: World, receiver: Receiver) -> None:
    let_out(world)
    trader = world.trader()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    later = [trader.call("POST", f"/webhooks/{added['id']}/rotate-secret", 200)["secret"] for _ in range(2)]
    trader.call("POST", f"/webhooks/{added['id']}/test", 202)
    world.run_loops()
    for secret in later:
        _verify(secret, *receiver.seen[0], world)
    with pytest.raises(WebhookVerificationError):
        _verify(added["secret"], *receiver.seen[0], world)


def test_what_was_sent_by_a_farm_that_died_before_it_wrote_that_down_comes_again_under_its_id(
    world: World, receiver: Receiver
) -> None:
    let_out(world)
    trader = world.trader()
    added = trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    delivery = trader.call("POST", f"/webhooks/{added['id']}/test", 202)
    with (
        patch.object(type(world.farm.alerts), "_delivered", side_effect=SystemError("died")),
        pytest.raises(SystemError),
    ):
        world.farm.alerts.deliver(delivery["id"])
    world.run_loops()
    ids = [headers["webhook-id"] for headers, _ in receiver.seen]
    assert ids == [delivery["message_id"]] * 2
    _verify(added["secret"], *receiver.seen[1], world)
    (shown,) = trader.call("GET", f"/webhooks/{added['id']}/deliveries")["items"]
    assert (shown["state"], shown["attempts"]) == ("delivered", 2)


def test_a_digest_leaves_out_what_was_turned_off_meanwhile(world: World) -> None:
    trader, _, _ = refused(world)
    settings = trader.call("GET", "/alerts/settings")
    wish = {name: value for name, value in settings.items() if name not in {"urgent", "telegram_available"}}
    wish["digest"] = "hourly"
    wish["modes"]["login_refused"]["email"] = "silent"
    trader.call("PUT", "/alerts/settings", 200, wish)
    world.run_loops()
    wish["modes"]["login_refused"]["email"] = "off"
    trader.call("PUT", "/alerts/settings", 200, wish)
    world.clock.advance(hours=2)
    world.farm.alerts.hand_over()
    world.run_loops()
    assert world.farm.recorded_post is not None
    assert not [each for each in world.farm.recorded_post.newest(50) if "happened" in each.subject]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https://",
    ],
)
def test_a_webhook_into_a_private_network_is_refused_with_a_reason(world: World, url: str) -> None:
    answer = world.trader().request("POST", "/webhooks", {"url": url})
    assert answer.status_code == 422, answer.text


def test_a_new_browser_is_told_and_a_known_one_is_not(world: World) -> None:
    trader = world.trader()
    credentials = {"email": trader.email, "password": PASSWORD}
    assert trader.http.post("/api/v1/auth/sign-in", json=credentials).status_code == 200
    assert bell(trader)["items"] == []
    assert browser(world.farm).post("/api/v1/auth/sign-in", json=credentials).status_code == 200
    assert [each["event"] for each in bell(trader)["items"]] == ["new_sign_in"]


def test_a_limit_of_ones_own_fires_when_it_begins_to_hold(world: World) -> None:
    trader, node = world.trader(), world.node()
    account, wanted = world.ready_account(trader, node)
    for kind, value, symbol in [
        ("price_above", "1.05", "EURUSD"),
        ("equity_below", "9000", ""),
        ("price_below", "1", "EURUSD"),
    ]:
        wish = {"account_id": account, "kind": kind, "value": value, "symbol": symbol}
        trader.call("POST", "/alerts/thresholds", 201, wish)
    world.run_loops()
    assert [each["title"] for each in bell(trader)["items"]] == ["Main: EURUSD price above 1.05"]
    world.clock.advance(seconds=5)
    node.make_ready(wanted, account=snapshot(equity=8_999.0, taken_at=world.clock.now()))
    world.run_loops()
    assert {each["event"] for each in bell(trader)["items"]} == {"threshold"}
    assert len(bell(trader)["items"]) == 2


def test_a_terminal_that_falls_silent_is_told_after_five_minutes(world: World) -> None:
    trader, node = world.trader(), world.node()
    world.ready_account(trader, node)
    world.let_pass(240)
    assert bell(trader)["items"] == []
    world.let_pass(90)
    assert "terminal_stale" in [each["event"] for each in bell(trader)["items"]]


def test_a_daily_report_is_written_once_in_the_users_morning(world: World) -> None:
    trader, node = world.trader(), world.node()
    world.ready_account(trader, node)
    for _ in range(4):
        world.clock.advance(hours=12)
        world.run_loops()
        world.run_loops()
    reports = [each for each in bell(trader)["items"] if each["event"] == "daily_report"]
    assert [each["subject_id"] for each in reports] == ["2026-03-04", "2026-03-03"]


def test_tenants_see_nothing_of_each_others_alerts_and_webhooks(world: World, receiver: Receiver) -> None:
    let_out(world)
    first, second = two_tenants(world)
    added = first.trader.call("POST", "/webhooks", 201, {"url": receiver.url})
    second.trader.call("GET", f"/webhooks/{added['id']}", 404)
    second.trader.call("DELETE", f"/webhooks/{added['id']}", 404)
    wish = {"account_id": first.account_id, "kind": "equity_below", "value": "1"}
    second.trader.call("POST", "/alerts/thresholds", 404, wish)


def test_a_chat_is_linked_by_a_code_once_and_then_told(world: World, receiver: Receiver) -> None:
    bot = TelegramBot("123456:" + "a" * 35, receiver.url.removesuffix("/hook"))
    world.farm.alerts.telegram = bot
    trader, node = world.trader(), world.node()
    code = trader.call("POST", "/alerts/telegram", 201)["code"]
    said = {"update_id": 5, "message": {"chat": {"id": 77, "type": "private"}, "text": f"/start {code}"}}
    receiver.json = {"ok": True, "result": [said]}
    world.run_loops()
    assert trader.call("GET", "/alerts/telegram")["linked_at"] is not None
    receiver.json = {"ok": True, "result": []}
    _, wanted = world.ready_account(trader, node)
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
    world.run_loops()
    world.run_loops()
    sent = [json.loads(body) for _, body in receiver.seen if b"sendMessage" not in body and b"chat_id" in body]
    assert any(each["chat_id"] == 77 and "refused the password" in each["text"] for each in sent)
