"""A farm of real processes whose control plane reaches its node's gateway through a faulty link."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.chaos.farm import ENVIRONMENT, PASSWORD, SERVER, ChaosFarm, wait_for
from tests.chaos.processes import send
from tests.orders.faults import CutError, Fault, FaultPlan, Proxy

_MANY = "1000000/60"


class GatewayEyes:
    """All is encrypted, so faults meet whatever goes through once a session is open: a request, or its answer."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self.pair = (self._request, self._answer)

    def _request(self, data: bytes) -> bytes:
        if self._plan.draw(Fault.TLS_REQUEST_CUT):
            raise CutError(data[: self._plan.part(len(data))])
        return data

    def _answer(self, data: bytes) -> bytes:
        match self._plan.draw(Fault.TLS_ANSWER_CUT, Fault.CLIENT_ANSWER_LOST):
            case Fault.TLS_ANSWER_CUT:
                raise CutError(data[: self._plan.part(len(data))])
            case Fault.CLIENT_ANSWER_LOST:
                raise CutError
        return data


class RestFarm(ChaosFarm):
    """Accounts without bots, on one node; whoever trades does so over REST."""

    speed = 1
    environment: ClassVar[dict[str, str]] = {
        **ENVIRONMENT,
        "MT5FARM_REQUESTS_OF_USER": _MANY,
        "MT5FARM_REQUESTS_OF_TENANT": _MANY,
        "MT5FARM_REQUESTS_TO_EXIT": _MANY,
    }

    def __init__(self, folder: Path, plan: FaultPlan, accounts: int) -> None:
        self._plan = plan
        super().__init__(folder, nodes=1, policies=("keep_running",) * accounts)

    def kill_control_plane(self) -> None:
        """With no chance to tidy up; its service manager starts it again."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.services["control plane"].pid, signal.SIGKILL)

    def kill_worker(self, number: int) -> None:
        """A bridge worker, which the node's agent replaces."""
        workers = [row["pid"] for row in self.nodes[0].processes() if row["role"] == "worker"]
        if workers:
            send([workers[number % len(workers)]], signal.SIGKILL)

    def order_rows(self) -> list[dict[str, Any]]:
        """The table of orders as it is on disk."""
        names = (
            "id, account_id, caller_order_id, kind, state, order_ticket, pending_ticket, position_ticket,"
            " wished_price, stop_loss, sent_at, created_at"
        )
        rows = self._query(f"SELECT {names} FROM orders ORDER BY created_at, id")
        return [dict(zip(names.split(", "), row, strict=True)) for row in rows]

    def open_orders(self) -> int:
        """How many of them are not settled."""
        settled = "state NOT IN ('done', 'refused', 'not_executed')"
        return int(self._query(f"SELECT COUNT(*) FROM orders WHERE {settled}")[0][0])

    def whole(self) -> bool:
        ready = [one for one in self.client.accounts() if one["terminal"]["phase"] == "ready"]
        return len(ready) == len(self.logins) and all(one.alive for one in self.services.values())

    def _gateway_options(self, port: int) -> list[str]:
        listener = socket.create_server(("127.0.0.1", 0))
        near = f"127.0.0.1:{listener.getsockname()[1]}"
        far = f"127.0.0.1:{port}"
        self._proxy = Proxy(listener, lambda: far, lambda: GatewayEyes(self._plan).pair, framed=False)
        return ["--gateway-listen", far, "--gateway-address", near]

    def _connect(self, policies: Sequence[str]) -> None:
        self.client.sign_in("orders@mt5farm.example", PASSWORD + "-Aa1")
        for number, _ in enumerate(policies):
            login = self.admin().create_account(password=PASSWORD, name="Trader", balance=1e6)
            account = self.client.connect(f"orders {number}", login, PASSWORD, SERVER)
            self.logins[login] = account["id"]
        wait_for(self.whole, 120, "ready terminals")

    def close(self) -> None:
        super().close()
        if hasattr(self, "_proxy"):
            self._proxy.close()
