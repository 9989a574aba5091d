"""What holds master keys keeps one contract, whether it is a file or a key management service."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from control_plane.errors import ConfigurationError, UnavailableError
from control_plane.vault.key_file import KeyFile
from control_plane.vault.masters import MasterKeys, Wrapped
from control_plane.vault.sealing import SealBrokenError, new_key, seal, unseal
from control_plane.vault.transit import TransitKeys

PLAIN = b"thirty-two bytes of a data key.."


class TransitStandIn:
    """The transit interface as its documentation has it: versioned keys, associated data, a token in a header."""

    def __init__(self) -> None:
        self.keys = [new_key()]
        self.token = "t1"
        self.questions = 0
        self.away = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.questions += 1
        if self.away:
            raise httpx.ConnectError("nobody there")
        if request.headers["X-Vault-Token"] != self.token:
            return httpx.Response(403, json={"errors": ["permission denied"]})
        body = json.loads(request.content) if request.content else {}
        match request.url.path.removeprefix("/v1/transit/").split("/"):
            case ["keys", "farm"]:
                return httpx.Response(200, json={"data": {"latest_version": len(self.keys)}})
            case ["keys", "farm", "rotate"]:
                self.keys.append(new_key())
                return httpx.Response(204)
            case ["encrypt", "farm"]:
                return self._encrypt(body)
            case ["decrypt", "farm"]:
                return self._decrypt(body)
        return httpx.Response(404, json={"errors": []})

    def _encrypt(self, body: dict[str, str]) -> httpx.Response:
        sealed = seal(self.keys[-1], base64.b64decode(body["plaintext"]), body["associated_data"])
        text = f"vault:v{len(self.keys)}:{base64.b64encode(sealed).decode()}"
        return httpx.Response(200, json={"data": {"ciphertext": text}})

    def _decrypt(self, body: dict[str, str]) -> httpx.Response:
        _, version, sealed = body["ciphertext"].split(":")
        try:
            plain = unseal(self.keys[int(version[1:]) - 1], base64.b64decode(sealed), body["associated_data"])
        except (SealBrokenError, ValueError):
            return httpx.Response(400, json={"errors": ["cipher: message authentication failed"]})
        return httpx.Response(200, json={"data": {"plaintext": base64.b64encode(plain).decode()}})


@pytest.fixture
def service() -> TransitStandIn:
    return TransitStandIn()


@pytest.fixture(params=["file", "service"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, service: TransitStandIn) -> Callable[[], MasterKeys]:
    """Opens the same keys as another process would."""
    if request.param == "file":
        KeyFile.create(tmp_path / "master.key")
        return lambda: KeyFile(tmp_path / "master.key")
    return lambda: transit(service, tmp_path)


def transit(service: TransitStandIn, folder: Path) -> TransitKeys:
    (folder / "token").write_text("t1\n")
    http = httpx.Client(transport=httpx.MockTransport(service.answer))
    return TransitKeys("http://kms", "farm", folder / "token", http)


def test_what_is_wrapped_opens_in_its_place_only(reopen: Callable[[], MasterKeys]) -> None:
    wrapped = reopen().wrap(PLAIN, "here")
    assert PLAIN not in wrapped.value
    assert reopen().unwrap(wrapped, "here") == PLAIN
    with pytest.raises(SealBrokenError):
        reopen().unwrap(wrapped, "there")


def test_what_is_altered_or_names_another_key_does_not_open(reopen: Callable[[], MasterKeys]) -> None:
    wrapped = reopen().wrap(PLAIN, "here")
    with pytest.raises(SealBrokenError):
        reopen().unwrap(Wrapped("another", wrapped.value), "here")
    with pytest.raises(SealBrokenError):
        reopen().unwrap(Wrapped(wrapped.master_id, wrapped.value[:-4] + b"AAA="), "here")


def test_a_new_key_wraps_from_then_on_in_every_process_and_the_old_one_still_opens(
    reopen: Callable[[], MasterKeys],
) -> None:
    running = reopen()
    old = running.wrap(PLAIN, "here")
    made = reopen().rotate()
    assert running.newest_id() == made != old.master_id
    new = running.wrap(PLAIN, "here")
    assert new.master_id == made
    assert [reopen().unwrap(each, "here") for each in (old, new)] == [PLAIN, PLAIN]


def test_a_key_that_is_used_is_never_retired(reopen: Callable[[], MasterKeys]) -> None:
    old = reopen().wrap(PLAIN, "here")
    reopen().rotate()
    reopen().retire_all_but({old.master_id})
    assert reopen().unwrap(old, "here") == PLAIN
    newest = reopen().wrap(PLAIN, "here")
    reopen().retire_all_but(set())
    assert reopen().unwrap(newest, "here") == PLAIN


class TestFile:
    def test_a_retired_key_opens_nothing_and_lies_aside(self, tmp_path: Path) -> None:
        keys = KeyFile.create(tmp_path / "master.key")
        old = keys.wrap(PLAIN, "here")
        keys.rotate()
        keys.retire_all_but(set())
        with pytest.raises(SealBrokenError):
            keys.unwrap(old, "here")
        aside = KeyFile(tmp_path / f"master.key.retired-{old.master_id}")
        assert aside.unwrap(old, "here") == PLAIN

    @pytest.mark.parametrize("content", ["", "short", "c2hvcnQ=", "é"])
    def test_what_is_no_key_is_refused(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "master.key"
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(ConfigurationError, match="restore it"):
            KeyFile(path)


class TestService:
    def test_a_key_that_was_opened_once_is_not_asked_for_again(self, service: TransitStandIn, tmp_path: Path) -> None:
        keys = transit(service, tmp_path)
        wrapped = keys.wrap(PLAIN, "here")
        keys.unwrap(wrapped, "here")
        asked = service.questions
        service.away = True
        assert keys.unwrap(wrapped, "here") == PLAIN
        assert service.questions == asked

    def test_one_that_is_away_or_refuses_the_token_may_be_asked_later(
        self, service: TransitStandIn, tmp_path: Path
    ) -> None:
        keys = transit(service, tmp_path)
        service.token = "renewed"
        with pytest.raises(UnavailableError) as refused:
            keys.wrap(PLAIN, "here")
        assert refused.value.retryable
        (tmp_path / "token").write_text("renewed")
        wrapped = keys.wrap(PLAIN, "here")
        service.away = True
        with pytest.raises(UnavailableError):
            keys.unwrap(wrapped, "here")
