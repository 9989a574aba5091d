"""For each route of the matrix, a request that is right in everything but perhaps in who sends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from control_plane.ids import new_id
from tests.authz.matrix import Line
from tests.authz.stage import Person
from tests.tenants import BACKTEST, BOT, ORDER
from tests.unit.control_plane.world import PASSWORD, SERVER, certificate_request

_ACCOUNT = "/api/v1/accounts/{account_id}"
_NODE = "/api/v1/nodes/{node_id}"
_WHY = {"reason": "to see who may"}
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_TICKET = "tik_00000000000000000000000000"
_QUERIES = {f"GET {_ACCOUNT}/bars": "?symbol=EURUSD", f"GET {_ACCOUNT}/calendar": "?month=2026-03"}
Body = Callable[[Person], dict[str, Any]]


@dataclass(frozen=True)
class Wish:
    """A request as it goes over the wire, without the sender."""

    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def wish(line: Line, whose: Person, node_id: str) -> Wish:
    """The request of this line about things of this person, or about this node."""
    path = line.path.replace("{path:path}", "sign-in").format(
        account_id=whose.account_id,
        bot_id=whose.bot_id,
        backtest_id=whose.backtest_id,
        strategy_id=whose.strategy_id,
        change_id=new_id("bch"),
        node_id=node_id,
        user_id=whose.user_id,
        terminal_id=whose.terminal_id,
        pool_name="default",
        tenant_id=new_id("ten"),
        ticket=1,
        order_id="ord_00000000000000000000000000",
        job_id=new_id("job"),
        session_id=whose.session_id,
        key_id=whose.service_key_id if line.subject == "service" else whose.key_id,
        passkey_id=whose.passkey_id,
        invitation_id=whose.invitation_id,
        service_account_id=whose.service_id,
        test_id=whose.test_id,
        threshold_id=whose.threshold_id,
        webhook_id=whose.webhook_id,
        delivery_id=new_id("dlv"),
        copier_id=whose.copier_id,
        copy_invitation_id=whose.copy_invitation_id,
        name=SERVER,
        ticket_id=_TICKET,
        request_id=new_id("req"),
        kill_id=new_id("kil"),
        sha256="0" * 64,
    )
    headers = {"Idempotency-Key": new_id("key"), "If-Match": "*"}
    if line.method == "WS":
        return Wish("GET", path, headers=_UPGRADE)
    if line.application == "agent":
        headers["Authorization"] = "MT5Farm forged"
    content = b""
    if line.call in _BODIES:
        content = json.dumps(_BODIES[line.call](whose)).encode()
        headers["Content-Type"] = "application/json"
    return Wish(line.method, path + _QUERIES.get(line.call, ""), content, headers)


def _log_in(_whose: Person) -> dict[str, Any]:
    login = int(new_id("x")[-6:], 36) + 10_000_000
    return {"login": login, "password": "broker-secret", "server": SERVER}


def _fixed(body: dict[str, Any]) -> Body:
    return lambda _whose: body


def _sign_up(_whose: Person) -> dict[str, Any]:
    return {"email": f"{new_id('new')}@example.com", "password": PASSWORD, "display_name": "New"}


def _new_address(_whose: Person) -> dict[str, Any]:
    return {"email": f"{new_id('new')}@example.com"}


def _credential(**response: str) -> dict[str, Any]:
    """In the form of a passkey's answer, and no answer to anything."""
    return {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA", **response}}


def _proof(whose: Person) -> dict[str, Any]:
    return {"password": PASSWORD, "code": whose.recovery_codes.pop()}


def _enrol(_whose: Person) -> dict[str, Any]:
    return {
        "token": "mfe_forged",
        "name": "n",
        "identity_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "sealing_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "gateway_csr": certificate_request(),
        "gateway_address": "127.0.0.1:1",
        "runtimes": ["simulated"],
        "slots": 1,
        "platform": "linux",
    }


_BODIES: dict[str, Body] = {
    "POST /api/v1/auth/sign-up": _sign_up,
    "POST /api/v1/auth/verify-email": lambda _whose: {"token": new_id("forged"), "password": PASSWORD},
    "POST /api/v1/auth/sign-in": lambda whose: {"email": whose.email, **_proof(whose)},
    "POST /api/v1/auth/step-up": _proof,
    "POST /api/v1/auth/request-reset": _new_address,
    "POST /api/v1/auth/passkeys": _fixed({"name": "New", "credential": _credential(attestationObject="AA")}),
    "PUT /api/v1/auth/passkeys/{passkey_id}": _fixed({"name": "Renamed"}),
    "POST /api/v1/auth/passkeys/sign-in": _fixed({"credential": _credential(authenticatorData="AA", signature="AA")}),
    "POST /api/v1/auth/change-email": _new_address,
    "POST /api/v1/auth/confirm-email": lambda _whose: {"token": new_id("forged")},
    "POST /api/v1/auth/undo-email-change": lambda _whose: {"token": new_id("forged")},
    "POST /api/v1/auth/accept-invitation": lambda _whose: {
        "token": new_id("forged"),
        "password": PASSWORD,
        "display_name": "New",
    },
    "POST /api/v1/members/invitations": _new_address,
    "POST /api/v1/service-accounts": _fixed({"name": "New"}),
    "POST /api/v1/service-accounts/{service_account_id}/disable": _fixed(_WHY),
    "POST /api/v1/service-accounts/{service_account_id}/keys": _fixed({"name": "New", "scopes": ["read"]}),
    "POST /api/v1/auth/reset-password": lambda _whose: {"token": new_id("forged"), "password": PASSWORD},
    "POST /api/v1/auth/change-password": _fixed({"password": PASSWORD, "new_password": PASSWORD}),
    "POST /api/v1/auth/second-factor/totp/confirm": _fixed({"code": "000000"}),
    "POST /api/v1/auth/api-keys": _fixed({"name": "Another", "scopes": ["read"]}),
    "POST /api/v1/broker-directory": _fixed({"servers": []}),
    "PUT /api/v1/broker-directory/{name}": _fixed({"company": "MT5 Farm"}),
    "POST /api/v1/accounts": lambda whose: {**_log_in(whose), "label": "New"},
    "POST /api/v1/connection-tests": _log_in,
    f"POST {_ACCOUNT}/move": _fixed({"with_positions": False}),
    "POST /api/v1/terminals/{terminal_id}/hold": _fixed(_WHY),
    "POST /api/v1/terminals/{terminal_id}/lift": _fixed(_WHY),
    f"PUT {_ACCOUNT}/credentials": _fixed({"password": "broker-secret"}),
    f"PUT {_ACCOUNT}/lease-policy": _fixed({"policy": "self_fence"}),
    f"POST {_ACCOUNT}/tickets": _fixed({"scope": "trade"}),
    f"POST {_ACCOUNT}/orders": _fixed(ORDER),
    f"PUT {_ACCOUNT}/guard": _fixed({"limits": {"max_volume": "1"}}),
    "PUT /api/v1/limit-defaults": _fixed({"limits": {}}),
    f"POST {_ACCOUNT}/kill": _fixed({"mode": "no_new_orders"}),
    "POST /api/v1/kill-switches": _fixed({"mode": "no_new_orders"}),
    "POST /api/v1/kill-switches/tenant": _fixed({**_WHY, "mode": "no_new_orders"}),
    "POST /api/v1/kill-switches/fleet": _fixed({**_WHY, "mode": "no_new_orders"}),
    "POST /api/v1/members/{user_id}/kill": _fixed({**_WHY, "mode": "no_new_orders"}),
    f"POST {_ACCOUNT}/orders/preview": _fixed(ORDER),
    f"POST {_ACCOUNT}/orders/{{order_id}}/resolve": _fixed({"happened": True}),
    f"POST {_ACCOUNT}/positions/{{ticket}}/modify": _fixed({"stop_loss": 1.0}),
    f"POST {_ACCOUNT}/positions/{{ticket}}/close-by": _fixed({"position_by": 2}),
    f"POST {_ACCOUNT}/pending-orders/{{ticket}}/modify": _fixed({"price": 1.0}),
    "POST /api/v1/alerts/read": _fixed({}),
    "PUT /api/v1/alerts/settings": _fixed({"modes": {}}),
    "POST /api/v1/alerts/unsubscribe": lambda _whose: {"token": new_id("forged")},
    "POST /api/v1/alerts/thresholds": lambda whose: {
        "account_id": whose.account_id,
        "kind": "equity_below",
        "value": "1",
    },
    "POST /api/v1/webhooks": _fixed({"url": "https://example.com/hook"}),
    "PUT /api/v1/webhooks/{webhook_id}": _fixed({"url": "https://example.com/hook"}),
    "POST /api/v1/copiers": lambda whose: {
        "follower_account_id": whose.account_id,
        "leader_account_id": whose.other_account_id,
    },
    "PUT /api/v1/copiers/{copier_id}": _fixed({}),
    "POST /api/v1/copy-invitations": lambda whose: {"account_id": whose.account_id},
    "POST /api/v1/bots": lambda whose: {**BOT, "account_id": whose.account_id},
    "POST /api/v1/backtests": lambda whose: {**BACKTEST, "account_id": whose.account_id},
    "PATCH /api/v1/bots/{bot_id}": _fixed({"volume": 0.2}),
    "POST /api/v1/custom-strategies": _fixed({"name": "New", "file_name": "new.py", "content": "eA=="}),
    "POST /api/v1/custom-strategies/{strategy_id}/versions": _fixed({"file_name": "new.py", "content": "eA=="}),
    "PUT /api/v1/members/{user_id}/role": lambda whose: {**_WHY, "role": whose.role},
    "PUT /api/v1/members/{user_id}/plan": lambda _: {**_WHY, "plan": None},
    "POST /api/v1/nodes/breaker/lift": _fixed(_WHY),
    "POST /api/v1/jobs/{job_id}/redrive": _fixed(_WHY),
    "PUT /api/v1/pools/{pool_name}": _fixed(_WHY),
    "POST /api/v1/pools/{pool_name}/remove": _fixed(_WHY),
    f"PUT {_NODE}/placement": _fixed({**_WHY, "region": "london"}),
    "PUT /api/v1/tenant-placements/{tenant_id}": _fixed(_WHY),
    "PUT /api/v1/placements/{terminal_id}/demand": _fixed(_WHY),
    **{
        f"POST {_NODE}/{deed}": _fixed(_WHY)
        for deed in ("cordon", "uncordon", "drain", "cancel-drain", "confirm-dead", "unlock", "revoke")
    },
    f"POST {_NODE}/terminals/{{terminal_id}}/move": _fixed(_WHY),
    f"POST {_NODE}/terminals/{{terminal_id}}/view-tickets": _fixed(_WHY),
    f"POST {_NODE}/terminals/{{terminal_id}}/requests": _fixed({**_WHY, "kind": "restart"}),
    f"PUT {_NODE}/terminals/{{terminal_id}}/lease-policy": _fixed({**_WHY, "policy": "self_fence"}),
    "agent POST /agent/v1/enroll": _enrol,
}
