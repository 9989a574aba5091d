"""What lies between a node and the control plane: packets that are lost, late, doubled, out of order, one-way cuts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from control_plane.container import Farm
from control_plane.errors import FarmError
from node_agent import control_link
from node_agent.control_link import UnreachableError
from node_agent.identity import NodeKeys
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import (
    EVENTS_PATH,
    SYNC_PATH,
    WATCH_PATH,
    EventAck,
    EventBatch,
    SyncRequest,
    SyncResponse,
    WatchResponse,
    Wire,
)
from tests.simulation.control_plane import ControlPlane
from tests.simulation.database import CrashError
from tests.simulation.loop import VirtualLoop

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.processes import Reporter

_TIMEOUT = 15.0
_WATCH_TIMEOUT = 40.0
_Answer = TypeVar("_Answer", bound=Wire)


@dataclass
class Weather:
    """The present state of one node's link."""

    up_cuts: int = 0
    """So many faults let nothing through to the control plane."""
    down_cuts: int = 0
    """So many faults let nothing through to the node."""
    loss: float = 0.0
    slow: float = 0.0
    """Probability that a message takes up to a minute, and so overtakes or is overtaken."""
    double: float = 0.0


class Network:
    def __init__(self, loop: VirtualLoop, plane: ControlPlane, chance: random.Random, counts: Counter[str]) -> None:
        self.loop = loop
        self.plane = plane
        self.chance = chance
        self.counts = counts

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Outside of any process: what is on the wire arrives whoever has died meanwhile."""
        self.loop.call_later(delay, callback, context=Context())

    def delay(self, weather: Weather) -> float:
        if self.chance.random() < weather.slow:
            self.counts["late messages"] += 1
            return self.chance.uniform(2.0, 60.0)
        return self.chance.uniform(0.01, 0.3)

    def lost(self, weather: Weather) -> bool:
        if self.chance.random() < weather.loss:
            self.counts["lost messages"] += 1
            return True
        return False

    async def exchange(self, weather: Weather, work: Callable[[Farm], Any], wait: float = _TIMEOUT) -> Any:
        """Raises UnreachableError, or what the answer says."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        copies = 1
        if self.chance.random() < weather.double:
            self.counts["doubled messages"] += 1
            copies = 2
        for _ in range(copies):
            if not weather.up_cuts and not self.lost(weather):
                self.later(self.delay(weather), lambda: self._arrive(weather, work, answer))
        try:
            async with asyncio.timeout(wait):
                outcome = await answer
        except TimeoutError as error:
            raise UnreachableError("no answer") from error
        if isinstance(outcome, FarmError):
            raise outcome
        if isinstance(outcome, Exception):
            raise UnreachableError(str(outcome)) from outcome
        return outcome

    def _arrive(self, weather: Weather, work: Callable[[Farm], Any], answer: asyncio.Future[Any]) -> None:
        process = self.plane.process
        if process is None or not process.alive:
            self._reply(weather, answer, ConnectionRefusedError("connection refused"))
            return
        process.call_later(0.0, lambda: self._serve(weather, work, answer))

    def _serve(self, weather: Weather, work: Callable[[Farm], Any], answer: asyncio.Future[Any]) -> None:
        try:
            outcome = self.plane.perform(work)
        except CrashError:
            return
        except FarmError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - answered as status 500, and a finding
            self.plane.wrong(f"request: {error!r}")
            outcome = error
        self._reply(weather, answer, outcome)

    def _reply(self, weather: Weather, answer: asyncio.Future[Any], outcome: Any) -> None:
        if weather.down_cuts or self.lost(weather):
            return
        self.later(self.delay(weather), lambda: None if answer.done() else answer.set_result(outcome))


class SimLink:
    """Stands in for `node_agent.control_link.ControlLink`: the same requests, signed the same way, no HTTP."""

    def __init__(self, network: Network, host: Host, node_id: str, keys: NodeKeys, reporter: Reporter) -> None:
        self._network = network
        self._host = host
        self._weather = host.weather
        self._node_id = node_id
        self._keys = keys
        self._clock = host.clocks.wall
        self._reporter = reporter

    async def sync(self, request: SyncRequest) -> SyncResponse:
        body = request.model_dump_json().encode()
        signature = self._sign("POST", SYNC_PATH, body)
        self._host.on_ask()
        answer: SyncResponse = await self._ask(
            lambda farm: farm.agent_api.sync(signature, SYNC_PATH, body), SyncResponse
        )
        if answer.desired is not None:
            self._host.told_at = self._network.loop.now
            self._host.told = {each.terminal_id: each for each in answer.desired.terminals}
        return answer

    async def events(self, batch: EventBatch) -> EventAck:
        body = batch.model_dump_json().encode()
        signature = self._sign("POST", EVENTS_PATH, body)
        ack: EventAck = await self._ask(lambda farm: farm.agent_api.events(signature, EVENTS_PATH, body), EventAck)
        self._reporter.events_rejected(ack.rejected)
        return ack

    async def watch(self, generation: int) -> WatchResponse:
        signature = self._sign("GET", WATCH_PATH, b"")
        await self._ask(lambda farm: _generation(farm, signature), object)
        done: asyncio.Future[WatchResponse] = self._network.loop.create_future()

        async def wait(farm: Farm) -> None:
            async def authenticated() -> int:
                return _generation(farm, signature)

            async def newest(node_id: str) -> int:
                return farm.agent_api.generations([node_id])[0]

            try:
                found = await farm.agent_api.watch(self._node_id, generation, authenticated, newest)
                answer = WatchResponse(generation=found)
            except CrashError:
                self._network.plane.die()
                return
            except FarmError:
                return  # what was heard a moment before is not true any more, as it will be told when it asks again
            if not self._weather.down_cuts:
                self._network.later(0.1, lambda: None if done.done() else done.set_result(answer))

        plane = self._network.plane
        if plane.farm is None or plane.process is None:
            raise UnreachableError("connection refused")
        plane.process.spawn(wait(plane.farm))
        try:
            async with asyncio.timeout(_WATCH_TIMEOUT):
                return await done
        except TimeoutError as error:
            raise UnreachableError("no answer") from error

    def _sign(self, method: str, path: str, body: bytes) -> str:
        return sign_request(self._keys.identity, self._node_id, method, path, body, self._clock())

    async def _ask(self, work: Callable[[Farm], Any], kind: type[Any]) -> Any:
        try:
            answer = await self._network.exchange(self._weather, work)
        except FarmError as error:
            problem = {"code": error.code, "detail": error.detail}
            return control_link._read(httpx.Response(error.status, json=problem), kind)
        return answer


def _generation(farm: Farm, signature: str) -> int:
    """Of the node that signed a wait for news. Raises FarmError."""
    (found,) = farm.agent_api.signed_watches(WATCH_PATH, [signature])
    if isinstance(found, FarmError):
        raise found
    return found
