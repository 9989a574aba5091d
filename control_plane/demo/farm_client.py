"""The farm's REST API as the demo's user sees it: the demo sets up everything through it, as a person in the portal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from control_plane.demo.settings import DemoError

ATTEMPTS = 60


class FarmClient:
    """One signed-in user. Answers are the JSON objects of the OpenAPI contract.

    `meanwhile` is called between two attempts while the control plane does not answer; it starts it again and pauses.
    """

    def __init__(self, url: str, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers={"Origin": url}, timeout=20.0)

    def close(self) -> None:
        self._http.close()

    def sign_in(self, email: str, password: str) -> None:
        """Sign in, or sign up at the first start."""
        answer = self._http.post("/auth/sign-in", json={"email": email, "password": password})
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            person = {"email": email, "password": password, "display_name": "Demo trader"}
            _checked(self._http.post("/auth/sign-up", json=person))
            wish = {"token": self._link_secret(email), "password": password}
            answer = self._http.post("/auth/verify-email", json=wish)
        _checked(answer)

    def _link_secret(self, email: str) -> str:
        """What follows the # in the mail to a new user; the farm of a demo shows it."""
        for _ in range(ATTEMPTS):
            mails = _checked(self._repeated("GET", "/recorded-mails")).json()["items"]
            found = next((re.search(r"#(\S+)", mail["text"]) for mail in mails if mail["recipient"] == email), None)
            if found is not None:
                return found[1]
            self._meanwhile()
        raise DemoError("The mail that finishes the sign-up does not come. See the control plane's log.")

    def accounts(self) -> list[dict[str, Any]]:
        return list(self._items("/accounts"))

    def connect(self, label: str, login: int, password: str, server: str) -> dict[str, Any]:
        return self._post("/accounts", {"label": label, "login": login, "password": password, "server": server})

    def bots(self) -> list[dict[str, Any]]:
        return list(self._items("/bots"))

    def create_bot(self, settings: dict[str, Any]) -> dict[str, Any]:
        return self._post("/bots", settings)

    def start_bot(self, bot_id: str) -> None:
        _checked(self._repeated("POST", f"/bots/{bot_id}/start"))

    def stop_bot(self, bot_id: str) -> None:
        _checked(self._repeated("POST", f"/bots/{bot_id}/stop"))

    def deals(self, account_id: str) -> list[dict[str, Any]]:
        """The whole trade log of an account."""
        return list(self._items(f"/accounts/{account_id}/deals"))

    def orders(self, account_id: str) -> list[dict[str, Any]]:
        """All order intents of an account, manual ones and those of bots."""
        return list(self._items(f"/accounts/{account_id}/orders"))

    def _items(self, path: str) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            parameters = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = _checked(self._repeated("GET", path, parameters)).json()
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def _repeated(self, method: str, path: str, parameters: dict[str, str] | None = None) -> httpx.Response:
        """For what is safe to repeat: the control plane may be restarting just now. Raises DemoError."""
        body: dict[str, str] | None = None if method == "GET" else {}
        for _ in range(ATTEMPTS):
            try:
                return self._http.request(method, path, params=parameters, json=body)
            except httpx.TransportError:
                self._meanwhile()
        raise DemoError("The control plane does not answer. See its log in the demo's data folder.")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(_checked(self._http.post(path, json=body)).json())


def answers(url: str) -> bool:
    """Whether the control plane says that it is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    raise DemoError(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {detail}")
