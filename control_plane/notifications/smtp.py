"""Mail through an SMTP server, encrypted before anything is said."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from enum import StrEnum

from control_plane.clock import Clock
from control_plane.notifications.message import as_message
from control_plane.notifications.port import Letter, PostError

_TIMEOUT_SECONDS = 10.0


class SmtpSecurity(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"
    """For a mail server on this very machine; never with a password."""


@dataclass(frozen=True)
class SmtpServer:
    host: str
    port: int
    sender: str
    security: SmtpSecurity
    user: str | None
    password: str | None = field(repr=False)
    ca_pem: str | None = None
    """Trusted instead of the machine's authorities."""


class SmtpPost:
    """A connection for each mail: they are few, and a stale connection is one more way to fail."""

    def __init__(self, server: SmtpServer, farm_name: str, clock: Clock) -> None:
        self._server = server
        self._farm_name = farm_name
        self._clock = clock

    def send(self, letter: Letter) -> None:
        message = as_message(letter, self._farm_name, self._server.sender, self._clock.now())
        try:
            with self._connect() as connection:
                connection.send_message(message)
        except smtplib.SMTPResponseException as error:
            # A server's own words may repeat what it was sent; its code says enough.
            raise PostError(f"the mail server answered {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise PostError(f"the mail server cannot be used: {type(error).__name__}") from None

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context(cadata=server.ca_pem)
        if server.security is SmtpSecurity.TLS:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)
        try:
            if server.security is SmtpSecurity.STARTTLS:
                connection.starttls(context=context)  # raises when the server offers none: nothing goes in the clear
            if server.user is not None and server.password is not None:
                connection.login(server.user, server.password)
        except BaseException:
            connection.close()
            raise
        return connection
