"""One seed: a whole farm in virtual time, a storm of faults and wishes, then calm in which all must come right."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from control_plane.container import Farm
from node_agent.errors import StorageError
from node_agent.identity import NodeKeys, make_keys
from node_agent.process import Role
from node_agent.protocol.encoding import from_text
from node_agent.protocol.messages import EnrollRequest
from tests.simulation.agent import NodeIdentity, SimAgent
from tests.simulation.broker import Broker
from tests.simulation.clients import Clients
from tests.simulation.control_plane import ControlPlane
from tests.simulation.database import Dialect, MemoryDatabase, template_image
from tests.simulation.environment import CHANCE, PROCESSES, TIME, TimeSource
from tests.simulation.faults import FAULTS
from tests.simulation.host import Host, Machines, OsProcess
from tests.simulation.invariants import Invariants
from tests.simulation.loop import VirtualLoop
from tests.simulation.meetings import MEETINGS
from tests.simulation.network import Network
from tests.simulation.people import People
from tests.simulation.processes import SESSION_LAPSE, Reporter, TerminalProcess
from tests.simulation.scenario import Scenario, draw
from tests.simulation.storm import Fault, Storm

START = 1_772_442_000.0
_KINDS: dict[str, Fault] = {**FAULTS, **MEETINGS}
_CALM = 1_200.0
"""Seconds after the last fault within which what is desired must have come to pass."""
_QUIET = 60.0
"""Seconds of calm before it is asked whether all has come to pass: what is shown must not be older than the storm."""
_FLUSHED = 90.0
"""Seconds between two moments at which everything written has surely reached the disk."""
_STARTS_AGAIN = 5.0


@dataclass
class Node:
    """A host that is part of the farm."""

    host: Host
    identity: NodeIdentity
    agent: SimAgent | None = None


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    broken: list[str]
    faults: Counter[str]
    events: int
    fingerprint: str
    """Of all that happened and of every number that was drawn: two runs that differ anywhere differ in this."""
    trace: list[str] = field(default_factory=list)


class World:
    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.chance = random.Random(scenario.seed + 1_000_003)
        CHANCE.source = random.Random(scenario.seed + 7)
        self.loop = VirtualLoop(START)
        TIME.at = self.loop.time
        self.counts: Counter[str] = Counter()
        self.trace: list[str] = []
        self.machines = Machines()
        PROCESSES.machines = self.machines
        self.broker = Broker()
        self.database = MemoryDatabase(_dialect(), _template())
        self.plane = ControlPlane(self.loop, self.database, folder / "farm", self.chance, self._settings())
        self.network = Network(self.loop, self.plane, self.chance, self.counts)
        self.folder = folder
        self.nodes: list[Node] = []
        self.clones: list[Node] = []
        self.ever_cloned = False
        self._ticket_keys: dict[str, Ed25519PublicKey] = {}
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.invariants = Invariants(self)
        self.reporter = Reporter()
        self.reporter.logged_in = self.invariants.logged_in
        self.reporter.refused = self.invariants.refused
        self.reporter.traded = self.invariants.traded
        self.reporter.spool_removed = self.invariants.spool_removed
        self.reporter.events_rejected = self.invariants.events_rejected
        self.reporter.stopping = self.invariants.stopping
        self.plane.wrong = self.break_rule
        self.plane.committed = self.invariants.database_changed
        self.people = People(self)
        self.clients = Clients(self)
        self.storm = Storm(self, _KINDS)

    def _settings(self) -> dict[str, float]:
        scenario = self.scenario
        return {
            "sync_seconds": scenario.sync_seconds,
            "lost_after_seconds": scenario.lost_after,
            "fence_seconds": scenario.fence,
        }

    def ticket_keys(self) -> dict[str, Ed25519PublicKey]:
        """What every gateway has been told long ago."""
        if self.plane.farm is not None and not self._ticket_keys:
            self._ticket_keys = {
                each.kid: Ed25519PublicKey.from_public_bytes(from_text(each.key))
                for each in self.plane.farm.tickets.public_keys()
            }
        return self._ticket_keys

    def run(self) -> Result:
        try:
            self.loop.run_until_complete(self._live())
            self.invariants.broken.extend(f"unexpected error: {failure}" for failure in self.loop.failures)
        finally:
            self.loop.abandon()
            self.loop.close()
            self.database.discard()
            for node in (*self.nodes, *self.clones):
                node.host.disk.close()
        broken = list(dict.fromkeys(self.invariants.broken))
        return Result(self.scenario.seed, broken, self.counts, self.loop.steps, self._fingerprint(), self.trace)

    def _fingerprint(self) -> str:
        seen = (self.trace, self.loop.steps, self.loop.now, self.chance.getstate(), CHANCE.source.getstate())
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]

    def note(self, text: str) -> None:
        self.trace.append(f"{self.loop.now - START:9.2f}  {text}")

    def break_rule(self, text: str) -> None:
        self.note(f"BROKEN: {text}")
        self.invariants.broken.append(text)
        if not self.ended.done():
            self.ended.set_result(None)

    async def _live(self) -> None:
        story = self.loop.create_task(self._story())
        await asyncio.wait([story, self.ended], return_when=asyncio.FIRST_COMPLETED)
        if story.done():
            story.result()
        story.cancel()

    async def _story(self) -> None:
        self.plane.start()
        self.loop.create_task(self._flush_disks())
        self.plane.crashed = self.storm.control_plane_crashed
        for index in range(self.scenario.nodes):
            self._add_node(f"node-{index + 1}")
        self.people.arrive()
        await asyncio.sleep(40.0)
        stirring = (self.people.act(), self.clients.trade(), self.storm.rage())
        tasks = [self.loop.create_task(each) for each in stirring]
        await asyncio.sleep(self.scenario.storm)
        for task in tasks:
            task.cancel()
        self.storm.calm()
        self.people.settle()
        self.note("calm")
        await asyncio.sleep(_QUIET)
        self.broker.open = False
        deadline = self.loop.now + _CALM
        while missing := self.invariants.missing():
            if self.loop.now > deadline:
                self.break_rule("not come to pass: " + "; ".join(missing))
                return
            await asyncio.sleep(15.0)
            self.people.settle()
        self.note("settled")

    async def _flush_disks(self) -> None:
        while True:
            await asyncio.sleep(_FLUSHED)
            for node in self.nodes:
                node.host.disk.reach_the_platter()

    def _add_node(self, name: str) -> None:
        host = Host(name, self.loop, self.machines, self.folder / name, self.chance)
        host.on_wake = self._woke
        host.on_fence = self.invariants.fenced
        keys, csr = _keys(len(self.nodes))

        def enrol(farm: Farm) -> str:
            with farm.database.write_as_system() as session:
                token = farm.fleet.issue_token(session, farm.identity.bootstrap(session).id, name)
            request = EnrollRequest(
                token=token,
                name=name,
                identity_key=keys.identity_public,
                sealing_key=keys.sealing_public,
                gateway_csr=csr,
                gateway_address="127.0.0.1:4443",
                runtimes=["simulated"],
                slots=self.scenario.slots,
                platform="linux",
            )
            return farm.agent_api.enroll(request).node_id

        node = Node(host, NodeIdentity(self.plane.perform(enrol), keys))
        self.nodes.append(node)
        self.start_agent(node)

    def clone(self, original: Node) -> Node:
        """The same disk in another machine; what runs here does not run there."""
        self.ever_cloned = True
        source, name = original.host, f"{original.host.name}-clone"
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(
            source.folder, self.folder / name, ignore=shutil.ignore_patterns("agent.sqlite3*", "watchdog.*")
        )
        source.disk.copy_to(self.folder / name / "agent.sqlite3").close()
        host = Host(name, self.loop, self.machines, self.folder / name, self.chance)
        host.on_wake = self._woke
        node = Node(host, original.identity)
        self.start_agent(node)
        return node

    def start_agent(self, node: Node) -> None:
        """What the machine's service manager does."""
        if not node.host.powered or (node.agent is not None and node.agent.alive):
            return
        node.host.disk.disarm()
        try:
            node.agent = SimAgent(
                node.host,
                node.identity,
                self.network,
                self.broker,
                self.reporter,
                self.scenario.sync_seconds,
                self.scenario.watches,
            )
        except StorageError as error:
            self.note(f"{node.host.name}: agent does not start: {error}")
            self.network.later(_STARTS_AGAIN, lambda: self.start_agent(node))
            return
        if node.host.frozen:
            node.agent.freeze()
        agent = node.agent
        agent.on_end = lambda: self._agent_ended(node)
        node.host.disk.on_crash = agent.end

    def _agent_ended(self, node: Node) -> None:
        self.note(f"{node.host.name}: agent ended")
        self.network.later(_STARTS_AGAIN, lambda: self.start_agent(node))

    def _woke(self, process: OsProcess, slept: float) -> None:
        if isinstance(process, TerminalProcess) and slept > SESSION_LAPSE:
            process.drop_session()

    def terminals(self) -> list[TerminalProcess]:
        return [
            process
            for node in (*self.nodes, *self.clones)
            for process in node.host.of_role(Role.TERMINAL)
            if isinstance(process, TerminalProcess)
        ]


def play(seed: int, faults: tuple[str, ...] = ()) -> Result:
    """Run one seed from the beginning, with these faults instead of its own. Call inside `simulated_environment`."""
    scenario = draw(seed, tuple(_KINDS))
    if faults:
        scenario = replace(scenario, faults=faults)
    folder = Path(tempfile.mkdtemp(prefix="m5sim", dir=_memory_folder()))
    try:
        return World(scenario, folder).run()
    finally:
        TIME.at, PROCESSES.machines = TimeSource().at, Machines()
        gc.collect()  # it is off while a world lives, so that nothing of a former one ends in the middle of it
        shutil.rmtree(folder, ignore_errors=True)


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@cache
def _keys(number: int) -> tuple[NodeKeys, str]:
    """Keys are slow to make and nothing depends on which they are."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gateway-{number}")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return make_keys(), request.public_bytes(serialization.Encoding.PEM).decode()


@cache
def _template() -> bytes:
    return template_image(_dialect())


@cache
def _dialect() -> Dialect:
    return Dialect()
