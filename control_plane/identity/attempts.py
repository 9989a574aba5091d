"""Growing pauses for whatever can be guessed: passwords, codes, and asking for mails.

Each attempt travels in one or more lanes. It is counted as failed before it is judged, so that attempts at the same
time gain nothing, and taken back when it turns out right. A browser that the user is known to own has lanes of its own,
so that the failures of others never make the owner wait.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.errors import TooManyRequestsError
from control_plane.identity import attempt_lanes
from control_plane.identity.state import ADDRESS_PACE, CODE_PACE, MAIL_PACE, PASSWORD_PACE, Pace, counted, wait_after

_IPV6_NETWORK = 64


@dataclass(frozen=True)
class Lane:
    name: str
    pace: Pace
    forgiven: bool = True
    """Whether a right attempt takes the failures before it back."""

    @property
    def lane_hash(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


def password_lanes(email: str, device_id: str | None, address: str) -> tuple[Lane, ...]:
    """A known device has its own lane; all others share those of the account and of their network address."""
    if device_id is not None:
        return (Lane(f"password|device|{device_id}", PASSWORD_PACE),)
    return (Lane(f"password|email|{email}", PASSWORD_PACE), *_address_lanes("password", address))


def code_lanes(user_id: str, device_id: str | None) -> tuple[Lane, ...]:
    whose = f"user|{user_id}" if device_id is None else f"device|{device_id}"
    return (Lane(f"code|{whose}", CODE_PACE),)


def reset_lanes(user_id: str) -> tuple[Lane, ...]:
    """For codes that come with the link of a reset mail: who reads foreign mail does not slow the sign-in down."""
    return (Lane(f"code|reset|{user_id}", CODE_PACE),)


def sign_up_lanes(token_hash: str, address: str) -> tuple[Lane, ...]:
    """For passwords that come with the link of a sign-up."""
    return (Lane(f"password|sign-up|{token_hash}", PASSWORD_PACE), *_address_lanes("password", address))


def mail_lanes(email: str, address: str) -> tuple[Lane, ...]:
    """Asking for a mail never turns out right, so that every one of them counts."""
    return (Lane(f"mail|email|{email}", MAIL_PACE, forgiven=False), *_address_lanes("mail", address))


def passkey_lanes(address: str) -> tuple[Lane, ...]:
    """A signature cannot be guessed, so that only the asking is counted; one that came to a good end is taken back."""
    return _address_lanes("passkey", address)


def _address_lanes(purpose: str, address: str) -> tuple[Lane, ...]:
    """An own right attempt must not take back what was tried at other accounts."""
    return (Lane(f"{purpose}|address|{network_of(address)}", ADDRESS_PACE, forgiven=False),) if address else ()


def network_of(address: str) -> str:
    """One customer of a provider commonly has a whole IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


class Attempts:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def begin(self, session: Session, lanes: Sequence[Lane]) -> None:
        """Count an attempt in all lanes. Raises TooManyRequestsError, and counts nothing, when one is still closed."""
        now = self._clock.now()
        # Always in the same order, so that two attempts never wait for each other.
        rows = [(attempt_lanes.held(session, lane.lane_hash, now), lane) for lane in sorted(lanes, key=_hash_of)]
        for row, lane in rows:
            row.failures = counted(lane.pace, row.failures, row.last_at, now)
        wait = max(
            (wait_after(lane.pace, row.failures, row.last_at, now).total_seconds() for row, lane in rows), default=0.0
        )
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyRequestsError(
                f"Too many attempts. Please wait {seconds} s.", retryable=True, retry_after=seconds
            )
        for row, _ in rows:
            row.failures, row.last_at = row.failures + 1, now

    def forgive(self, session: Session, lanes: Sequence[Lane]) -> None:
        """The attempt was right."""
        for lane in sorted(lanes, key=_hash_of):
            if lane.forgiven:
                attempt_lanes.clear(session, lane.lane_hash)
            else:
                attempt_lanes.take_back_one(session, lane.lane_hash)


def _hash_of(lane: Lane) -> str:
    return lane.lane_hash
