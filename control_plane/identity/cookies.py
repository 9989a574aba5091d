"""The cookies of who is signed in, of browsers that are known, and of a passkey's ceremony."""

from __future__ import annotations

from fastapi import Response

from control_plane.container import Farm
from control_plane.identity.passkeys import CHALLENGE_LASTS
from control_plane.identity.sessions import DEVICE_LIFETIME, SESSION_LIFETIME, SignedIn

SESSION_COOKIE = "mt5farm_session"
DEVICE_COOKIE = "mt5farm_device"
CEREMONY_COOKIE = "mt5farm_ceremony"
_AUTH_PATH = "/api/v1/auth"


def keep_session(farm: Farm, response: Response, signed_in: SignedIn) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.secret,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=farm.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    keep_device(farm, response, signed_in.device_secret)


def forget_session(response: Response) -> None:
    response.delete_cookie(SESSION_COOKIE, path="/")


def keep_device(farm: Farm, response: Response, secret: str) -> None:
    _keep_for_sign_in(farm, response, DEVICE_COOKIE, secret, int(DEVICE_LIFETIME.total_seconds()))


def keep_ceremony(farm: Farm, response: Response, secret: str) -> None:
    """So that nobody else can answer the challenge, or have this browser answer theirs."""
    _keep_for_sign_in(farm, response, CEREMONY_COOKIE, secret, int(CHALLENGE_LASTS.total_seconds()))


def _keep_for_sign_in(farm: Farm, response: Response, name: str, secret: str, seconds: int) -> None:
    response.set_cookie(
        name,
        secret,
        max_age=seconds,
        path=_AUTH_PATH,
        secure=farm.settings.secure_cookies,
        httponly=True,
        samesite="strict",
    )
