"""Sign-up: a mail proves the address, the password proves who signed up, and nobody learns who has an account."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from control_plane.identity.model import SignUp, User
from control_plane.notifications.model import Mail
from tests.unit.control_plane.world import PASSWORD, Trader, World, browser, link_in, mail_to

pytestmark = pytest.mark.both_databases

SIGN_UP, VERIFY, SIGN_IN = (f"/api/v1/auth/{name}" for name in ("sign-up", "verify-email", "sign-in"))
NEW = {"email": "new@example.com", "password": PASSWORD, "display_name": "New"}


def sign_up(world: World, **changes: str) -> str:
    """The secret of the link in the mail."""
    body = {**NEW, **changes}
    assert browser(world.farm).post(SIGN_UP, json=body).status_code == 202
    return link_in(mail_to(world.farm, body["email"]))


def verify(world: World, token: str, password: str = PASSWORD) -> tuple[int, str]:
    response = browser(world.farm).post(VERIFY, json={"token": token, "password": password})
    return response.status_code, response.json().get("code", "")


def test_there_is_no_user_before_the_mail_was_answered(world: World) -> None:
    token = sign_up(world)
    http = browser(world.farm)
    assert http.post(SIGN_IN, json={"email": NEW["email"], "password": PASSWORD}).status_code == 401
    assert verify(world, token) == (201, "")
    assert http.post(SIGN_IN, json={"email": NEW["email"], "password": PASSWORD}).status_code == 200


def test_a_link_works_once_and_for_a_day(world: World) -> None:
    token = sign_up(world)
    assert verify(world, token)[0] == 201
    assert verify(world, token) == (400, "link_spent")
    late = sign_up(world, email="late@example.com")
    world.clock.advance(days=1)
    assert verify(world, late) == (400, "link_spent")
    assert verify(world, "made up") == (400, "link_spent")


def test_an_address_is_not_lost_to_somebody_who_signed_up_with_it_first(world: World) -> None:
    foreign = sign_up(world, password="attackers own words", display_name="Attacker")
    mine = sign_up(world)
    assert verify(world, foreign) == (401, "bad_sign_in")  # its owner followed the wrong mail, with another password
    assert verify(world, mine)[0] == 201
    assert verify(world, foreign, "attackers own words") == (400, "link_spent")
    with world.farm.database.read_as_system() as session:
        assert session.query(User).one().display_name == "New"
        assert session.query(SignUp).count() == 0


def test_the_password_of_a_sign_up_cannot_be_guessed_without_end(world: World) -> None:
    token = sign_up(world)
    assert [verify(world, token, f"guess {number}")[0] for number in range(6)] == [401] * 5 + [429]


def test_a_used_address_is_answered_like_a_new_one_and_its_owner_is_told(world: World, trader: Trader) -> None:
    answers = [
        browser(world.farm).post(SIGN_UP, json={**NEW, "email": each})
        for each in ("trader@example.com", "x@example.com")
    ]
    assert [each.status_code for each in answers] == [202, 202]
    assert answers[0].json() == {"recipient": "trader@example.com"}
    assert answers[0].headers.keys() == answers[1].headers.keys()
    text = mail_to(world.farm, "trader@example.com")
    assert "You have one already" in " ".join(text.split())
    assert "#" not in text


def test_a_used_address_causes_the_same_work(world: World, trader: Trader) -> None:
    statements: list[str] = []

    @event.listens_for(world.farm.database.engine, "before_cursor_execute")
    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    work = []
    for path in (SIGN_UP, "/api/v1/auth/request-reset"):
        for email in ("trader@example.com", "x@example.com"):
            statements.clear()
            assert browser(world.farm).post(path, json={**NEW, "email": email}).status_code == 202
            work.append(list(statements))
    assert work[0] == work[1]
    assert work[2] == work[3]


def test_nobody_is_flooded_with_mails(world: World) -> None:
    http = browser(world.farm)
    assert [http.post(SIGN_UP, json=NEW).status_code for _ in range(4)] == [202, 202, 202, 429]


@pytest.mark.parametrize(
    "password",
    ["password1", "P@ssw0rd2024!", "liverpool99", "qwertyuiop", "new@example.com", "New1234!", "aaaaaaaaaaaa"],
)
def test_passwords_that_somebody_would_guess_are_refused(world: World, password: str) -> None:
    response = browser(world.farm).post(SIGN_UP, json={**NEW, "password": password})
    assert (response.status_code, response.json()["code"]) == (422, "password_guessable")
    assert [each["field"] for each in response.json()["errors"]] == ["password"]
    assert password not in response.text


def test_a_very_long_password_is_judged_quickly_and_kept_whole(world: World) -> None:
    words = "four uncommon words, " * 9
    token = sign_up(world, password=words)
    assert verify(world, token, words[:-1]) == (401, "bad_sign_in")
    assert verify(world, token, words)[0] == 201


def test_a_mail_that_is_sent_again_carries_a_new_link_and_no_secret_is_kept(world: World) -> None:
    first = sign_up(world)
    with world.farm.database.write_as_system() as session:
        mail = session.query(Mail).one()
        assert mail.secret_hash != first
        mail.sent_at = None
    second = link_in(mail_to(world.farm, NEW["email"]))
    assert second != first
    assert verify(world, second)[0] == 201
    for file in world.data.glob("farm.sqlite3*"):
        assert second.encode() not in file.read_bytes()
