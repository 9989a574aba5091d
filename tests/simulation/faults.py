"""Faults, each of one kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from node_agent.process import Role
from tests.simulation.environment import FULL_DISKS
from tests.simulation.host import OsProcess
from tests.simulation.storm import Fault, Storm

if TYPE_CHECKING:
    from tests.simulation.world import Node

TWO_REPORTS = 60.0
"""Seconds after which the control plane knows what the node says of itself."""


def _agent_killed(storm: Storm, kind: str) -> None:
    node = storm.node()
    if node.agent is not None and node.agent.alive and watched(node):
        storm.happened(kind, node.host.name)
        node.agent.end()


def _agent_dies_writing(storm: Storm, kind: str) -> None:
    node = storm.node()
    storm.happened(kind, node.host.name)
    node.host.disk.arm(storm.chance.randint(1, 6), storm.chance.random() < 0.5)


def freeze(storm: Storm, kind: str, process: OsProcess | None, seconds: float) -> None:
    if process is None or not process.alive:
        return
    storm.happened(kind, f"{process.name} for {seconds:.0f} s")
    process.freeze()
    storm.last(seconds, process.thaw)


def _agent_stopped(storm: Storm, kind: str) -> None:
    node = storm.node()
    if watched(node):
        freeze(storm, kind, node.agent, storm.span())


def _process_of(storm: Storm, role: Role) -> OsProcess | None:
    found = storm.node().host.of_role(role)
    return storm.chance.choice(found) if found else None


def _terminal_killed(storm: Storm, kind: str) -> None:
    if process := _process_of(storm, Role.TERMINAL):
        storm.happened(kind, process.name)
        process.end()


def _worker_killed(storm: Storm, kind: str) -> None:
    if process := _process_of(storm, Role.WORKER):
        storm.happened(kind, process.name)
        process.end()


def _worker_hangs(storm: Storm, kind: str) -> None:
    freeze(storm, kind, _process_of(storm, Role.WORKER), storm.span())


def _watchdog_killed(storm: Storm, kind: str) -> None:
    """Only beside an agent that is well: who loses both at once has no fence left."""
    node = storm.node()
    if node.agent is not None and node.agent.running:
        for process in node.host.of_role(Role.WATCHDOG):
            storm.happened(kind, process.name)
            process.end()


def _watchdog_broken(storm: Storm, kind: str) -> None:
    """The node says that it has no watchdog; later its agent hangs, so that nothing fences there."""
    node = storm.node()
    agent = node.agent
    if agent is None or not agent.running:
        return
    storm.happened(kind, node.host.name)
    node.host.watchdog_broken = True
    for process in node.host.of_role(Role.WATCHDOG):
        process.end()

    def hang() -> None:
        reported = storm.world.database.query("SELECT report FROM nodes WHERE id = ?", node.identity.node_id)[0][0]
        # Only where the control plane knows: to lose both at once is more than is promised.
        if agent.running and node.host.watchdog_broken and json.loads(reported).get("watchdog_up") is False:
            freeze(storm, kind, agent, storm.chance.uniform(300.0, 600.0))

    def mend() -> None:
        node.host.watchdog_broken = False

    storm.world.network.later(TWO_REPORTS, hang)
    storm.last(700.0, mend)


def watched(node: Node) -> bool:
    return any(process.running for process in node.host.of_role(Role.WATCHDOG))


def _unkillable(storm: Storm, kind: str) -> None:
    process = _process_of(storm, Role.TERMINAL)
    if process is None:
        return
    storm.happened(kind, process.name)
    process.stubborn = True
    storm.last(storm.span(), process.give_in)


def _host_sleeps(storm: Storm, kind: str, boot_time_stands: bool) -> None:
    host = storm.node().host
    if not host.powered or host.frozen:
        return
    seconds = storm.span()
    storm.happened(kind, f"{host.name} for {seconds:.0f} s")
    host.freeze()
    storm.last(seconds, lambda: host.thaw(boot_time_stands) if host.frozen else None)


def _host_suspended(storm: Storm, kind: str) -> None:
    _host_sleeps(storm, kind, boot_time_stands=False)


def _machine_paused(storm: Storm, kind: str) -> None:
    _host_sleeps(storm, kind, boot_time_stands=True)


def _power_cut(storm: Storm, kind: str) -> None:
    node = storm.node()
    if not node.host.powered:
        return
    lost = storm.chance.random() < 0.5
    storm.happened(kind, f"{node.host.name}{', newest writes lost' if lost else ''}")
    node.host.power_off(lost)

    def back() -> None:
        storm.world.note(f"{node.host.name}: power is back")
        node.host.power_on()
        storm.world.start_agent(node)

    storm.last(storm.span(), back)


def _cloned(storm: Storm, kind: str) -> None:
    """Somebody starts a copy of a node's disk on another machine."""
    world = storm.world
    original = storm.chance.choice(world.nodes)
    if world.clones:
        return
    storm.happened(kind, original.host.name)
    clone = world.clone(original)
    world.clones.append(clone)

    def destroyed() -> None:
        world.note(f"{clone.host.name}: destroyed")
        clone.host.power_off(writes_lost=False)
        clone.host.disk.close()  # or it would, some time later, take away the files of the next copy
        world.clones.remove(clone)

    storm.last(storm.span(), destroyed)


def cut(storm: Storm, kind: str, nodes: list[Node], up: bool, down: bool, least: float = 0.0) -> None:
    seconds = least + storm.span()
    storm.happened(kind, f"{', '.join(node.host.name for node in nodes)} for {seconds:.0f} s")
    for node in nodes:
        node.host.weather.up_cuts += up
        node.host.weather.down_cuts += down

    def mend() -> None:
        for node in nodes:
            node.host.weather.up_cuts -= up
            node.host.weather.down_cuts -= down

    storm.last(seconds, mend)


def _link_cut(storm: Storm, kind: str) -> None:
    cut(storm, kind, [storm.node()], up=True, down=True)


def _up_cut(storm: Storm, kind: str) -> None:
    cut(storm, kind, [storm.node()], up=True, down=False)


def _down_cut(storm: Storm, kind: str) -> None:
    cut(storm, kind, [storm.node()], up=False, down=True)


def _all_cut(storm: Storm, kind: str) -> None:
    cut(storm, kind, storm.world.nodes, up=True, down=True, least=storm.chance.choice((0.0, 250.0)))


def _weather(storm: Storm, kind: str, **present: float) -> None:
    weather = storm.node().host.weather
    storm.happened(kind, str(present))
    for name, value in present.items():
        setattr(weather, name, value)

    def clear() -> None:
        for name in present:
            setattr(weather, name, 0.0)

    storm.last(storm.span(), clear)


def _lossy(storm: Storm, kind: str) -> None:
    _weather(storm, kind, loss=storm.chance.uniform(0.1, 0.5))


def _out_of_order(storm: Storm, kind: str) -> None:
    _weather(storm, kind, slow=storm.chance.uniform(0.2, 0.6))


def _doubling(storm: Storm, kind: str) -> None:
    _weather(storm, kind, double=storm.chance.uniform(0.2, 0.8))


def _broker_cut(storm: Storm, kind: str) -> None:
    host = storm.node().host
    storm.happened(kind, host.name)
    host.broker_cut = True

    def mend() -> None:
        host.broker_cut = False

    storm.last(storm.span() / 2, mend)


def _clock_steps(storm: Storm, kind: str) -> None:
    host = storm.node().host
    seconds = storm.chance.choice((-1, 1)) * storm.chance.choice((5.0, 45.0, 400.0, 90_000.0))
    storm.happened(kind, f"{host.name} by {seconds:.0f} s")
    host.clocks.step(seconds)
    storm.last(storm.span(), host.clocks.correct)


def _disk_full(storm: Storm, kind: str) -> None:
    disk = storm.node().host.disk
    storm.happened(kind, disk.path.parent.name)
    disk.full = disk.was_full = True
    FULL_DISKS.add(disk.path.parent)

    def room() -> None:
        disk.full = False
        FULL_DISKS.discard(disk.path.parent)

    storm.last(storm.span() / 2, room)


def _plane_dies_working(storm: Storm, kind: str) -> None:
    if storm.world.plane.up:
        storm.happened(kind, "")
        storm.world.database.arm(storm.chance.randint(1, 60))


def _plane_killed(storm: Storm, kind: str) -> None:
    if storm.world.plane.up:
        storm.happened(kind, "")
        storm.world.plane.crash()
        storm.control_plane_crashed()


def _plane_hangs(storm: Storm, kind: str) -> None:
    process = storm.world.plane.process
    if process is None or not process.running:
        return
    seconds = storm.span()
    storm.happened(kind, f"for {seconds:.0f} s")
    process.freeze()
    storm.last(seconds, process.thaw)


def _bus_wiped(storm: Storm, kind: str) -> None:
    farm = storm.world.plane.farm
    if farm is None:
        return
    storm.happened(kind, "")
    bus = farm.bus
    vars(bus)["publish"] = lambda _change: None
    storm.last(storm.span(), lambda: vars(bus).pop("publish", None))


FAULTS: dict[str, Fault] = {
    "agent killed": _agent_killed,
    "agent dies writing": _agent_dies_writing,
    "agent stopped": _agent_stopped,
    "terminal killed": _terminal_killed,
    "worker killed": _worker_killed,
    "worker hangs": _worker_hangs,
    "unkillable terminal": _unkillable,
    "host suspended": _host_suspended,
    "machine paused": _machine_paused,
    "power cut": _power_cut,
    "cloned node": _cloned,
    "watchdog killed": _watchdog_killed,
    "no watchdog": _watchdog_broken,
    "link cut": _link_cut,
    "cut towards the farm": _up_cut,
    "cut towards the node": _down_cut,
    "all links cut": _all_cut,
    "lossy link": _lossy,
    "late and out of order": _out_of_order,
    "doubled messages": _doubling,
    "broker cut": _broker_cut,
    "clock steps": _clock_steps,
    "disk full": _disk_full,
    "control plane dies working": _plane_dies_working,
    "control plane killed": _plane_killed,
    "control plane hangs": _plane_hangs,
    "bus wiped": _bus_wiped,
}
