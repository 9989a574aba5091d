"""The SMTP adapter against a real mail server: nothing is said in the clear, and no secret is in an error."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from control_plane.notifications.port import Letter, PostError
from control_plane.notifications.smtp import SmtpPost, SmtpSecurity, SmtpServer
from tests.ports import free_ports
from tests.unit.control_plane.world import ManualClock, build_world

LETTER = Letter("mai_1", "trader@example.com", "Farm: Grüße", "Open\n\nhttp://farm/verify-email#link-secret\n")
PASSWORD = "the mail password"


@dataclass
class Mailbox:
    """What arrived, and what the server is to answer to a recipient."""

    messages: list[bytes] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refusal: str = ""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(envelope.content)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"farm", PASSWORD.encode())
    return AuthResult(success=right, handled=right)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """Of a server named localhost, and the authority to trust."""
    farm = build_world(tmp_path / "farm").farm
    key, chain = farm.authority.issue_with_key(["localhost", "127.0.0.1"])
    files = tmp_path / "key.pem", tmp_path / "chain.pem"
    for file, content in zip(files, (key, chain), strict=True):
        file.write_text(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files[1], files[0])
    farm.stop()
    return context, farm.authority.pem


@contextmanager
def mail_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_ports(1), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox, certificate: tuple[ssl.SSLContext, str]) -> Iterator[SmtpServer]:
    """A server that wants STARTTLS and a password."""
    context, authority = certificate
    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticator}
    with mail_server(mailbox, **options) as port:
        yield SmtpServer("localhost", port, "farm@example.com", SmtpSecurity.STARTTLS, "farm", PASSWORD, authority)


def post(server: SmtpServer) -> SmtpPost:
    return SmtpPost(server, "MT5 Farm", ManualClock())


def read(content: bytes) -> EmailMessage:
    return message_from_bytes(content, _class=EmailMessage, policy=policy.default)


def test_a_mail_arrives_encrypted_and_whole(server: SmtpServer, mailbox: Mailbox) -> None:
    post(server).send(LETTER)
    assert mailbox.encrypted == [True]
    message = read(mailbox.messages[0])
    assert (message["Subject"], message["From"], message["Message-ID"]) == (
        "Farm: Grüße",
        "MT5 Farm <farm@example.com>",
        "<mai_1@example.com>",
    )
    assert message.get_content().replace("\r\n", "\n") == LETTER.text


def test_a_server_of_another_name_or_authority_gets_nothing(server: SmtpServer, mailbox: Mailbox) -> None:
    for wrong in (replace(server, ca_pem=None), replace(server, host="127.0.0.2")):
        with pytest.raises(PostError):
            post(wrong).send(LETTER)
    assert mailbox.messages == []


def test_a_server_without_starttls_gets_neither_password_nor_mail(mailbox: Mailbox, server: SmtpServer) -> None:
    seen: list[Any] = []

    def listening(*given: Any) -> AuthResult:
        seen.append(given)
        return AuthResult(success=True)

    options = {"auth_require_tls": False, "authenticator": listening}
    with mail_server(mailbox, **options) as port, pytest.raises(PostError):
        post(replace(server, port=port)).send(LETTER)
    assert (seen, mailbox.messages) == ([], [])


def test_errors_tell_neither_the_password_nor_the_link(server: SmtpServer, mailbox: Mailbox) -> None:
    errors = []
    mailbox.refusal = "550 no such mailbox trader@example.com link-secret"
    for wrong in (replace(server, password="wrong password"), server, replace(server, port=1)):
        with pytest.raises(PostError) as error:
            post(wrong).send(LETTER)
        errors.append(f"{error.value} {error.value.__cause__}")
    assert not any(secret in text for text in errors for secret in ("password", "link-secret", PASSWORD))
    assert PASSWORD not in repr(server)


def test_tls_from_the_first_byte(mailbox: Mailbox, certificate: tuple[ssl.SSLContext, str], server: SmtpServer) -> None:
    context, _ = certificate
    options = {"ssl_context": context, "auth_require_tls": False, "authenticator": authenticator}
    with mail_server(mailbox, **options) as port:
        post(replace(server, port=port, security=SmtpSecurity.TLS)).send(LETTER)
    assert len(mailbox.messages) == 1


def test_without_encryption_on_this_machine(mailbox: Mailbox) -> None:
    with mail_server(mailbox) as port:
        post(SmtpServer("127.0.0.1", port, "farm@example.com", SmtpSecurity.NONE, None, None)).send(LETTER)
    assert mailbox.encrypted == [False]
    assert len(mailbox.messages) == 1
