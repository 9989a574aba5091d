"""Mails are written down with their reason, sent once by a job, and sent again when that failed."""

from __future__ import annotations

import stat
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from control_plane.config import Settings
from control_plane.jobs.model import Job
from control_plane.notifications.model import Mail
from control_plane.notifications.port import Letter, PostError
from control_plane.notifications.recorded import RecordedPost
from tests.unit.control_plane.world import ManualClock, Trader, World, browser

pytestmark = pytest.mark.both_databases

REQUEST = "/api/v1/auth/request-reset"


def letter(number: int = 1, text: str = "Grüße\n\nhttp://farm/reset-password#secret\n") -> Letter:
    return Letter(f"mai_{number:03}", "trader@example.com", f"Farm: No. {number}", text)


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Letter]:
    """The post fails some times; what was really sent."""
    sent: list[Letter] = []
    left = iter([True] * times)

    def send(_self: RecordedPost, sent_letter: Letter) -> None:
        if next(left, False):
            raise PostError("the mail server answered 451")
        sent.append(sent_letter)

    monkeypatch.setattr(RecordedPost, "send", send)
    return sent


def test_a_mail_is_sent_by_the_job_of_its_reason(world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = failing(monkeypatch, 0)
    browser(world.farm).post(REQUEST, json={"email": "trader@example.com"})
    assert sent == []
    world.run_loops()
    assert [each.recipient for each in sent] == ["trader@example.com"]
    world.run_loops()
    assert len(sent) == 1


def test_a_mail_that_could_not_be_sent_is_tried_again(
    world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = failing(monkeypatch, 2)
    browser(world.farm).post(REQUEST, json={"email": "trader@example.com"})
    world.let_pass(120)
    assert len(sent) == 1
    with world.farm.database.read_as_system() as session:
        job = session.query(Job).filter(Job.kind == "send_mail").order_by(Job.id.desc()).first()
        assert job is not None
        assert (job.state, job.attempts) == ("done", 3)


def test_a_mail_of_no_more_use_is_not_sent(world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = failing(monkeypatch, 0)
    browser(world.farm).post(REQUEST, json={"email": "trader@example.com"})
    world.clock.advance(hours=1)
    world.run_loops()
    assert sent == []


def test_expired_mails_are_deleted(world: World, trader: Trader) -> None:
    world.clock.advance(days=1, seconds=1)
    world.run_loops()
    with world.farm.database.read_as_system() as session:
        assert session.query(Mail).count() == 0


class TestRecorded:
    @pytest.fixture
    def post(self, tmp_path: Path) -> RecordedPost:
        return RecordedPost(tmp_path / "mail", "MT5 Farm", ManualClock())

    def test_is_a_whole_message_that_only_its_owner_can_read(self, post: RecordedPost, tmp_path: Path) -> None:
        post.send(letter())
        (file,) = (tmp_path / "mail").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        message = BytesParser(policy=policy.default).parsebytes(file.read_bytes())
        assert (message["To"], message["Message-ID"]) == ("trader@example.com", "<mai_001@localhost>")
        assert post.newest(1)[0].text == letter().text

    def test_keeps_the_newest_two_hundred(self, post: RecordedPost) -> None:
        for number in range(203):
            post.send(letter(number, "x"))
        kept = post.newest(500)
        assert [kept[0].id, kept[-1].id, len(kept)] == ["mai_202", "mai_003", 200]

    def test_one_that_is_sent_again_replaces_the_first(self, post: RecordedPost) -> None:
        post.send(letter(text="first"))
        post.send(letter(text="second"))
        assert [each.text.strip() for each in post.newest(10)] == ["second"]

    def test_a_folder_that_cannot_be_used_is_a_reason_to_try_again(self, tmp_path: Path) -> None:
        (tmp_path / "mail").write_text("a file")
        with pytest.raises(PostError):
            RecordedPost(tmp_path / "mail", "MT5 Farm", ManualClock()).send(letter())


class TestShown:
    def test_only_where_the_farm_is_tried_out(self, world: World, trader: Trader) -> None:
        http = browser(world.farm)
        http.base_url = "http://127.0.0.1"
        assert http.get("/api/v1/recorded-mails").status_code == 404
        world.farm.settings.show_mail = True
        (shown,) = http.get("/api/v1/recorded-mails").json()["items"]
        assert shown["recipient"] == "trader@example.com"
        assert browser(world.farm).get("/api/v1/recorded-mails").status_code == 404  # another name for this machine

    @pytest.mark.parametrize(
        "wrong",
        [
            {"show_mail": True, "host": "0.0.0.0"},
            {"show_mail": True, "smtp_host": "mail.example"},
            {"smtp_host": "mail.example", "smtp_security": "none"},
            {"smtp_host": "127.0.0.1", "smtp_security": "none", "smtp_user": "u", "smtp_password_file": "p"},
            {"smtp_host": "mail.example", "smtp_user": "u"},
        ],
    )
    def test_settings_that_would_give_secrets_away_are_refused(self, tmp_path: Path, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Settings.model_validate({"data": tmp_path, **wrong})


def test_a_letter_does_not_show_its_text() -> None:
    assert "secret" not in repr(letter())
