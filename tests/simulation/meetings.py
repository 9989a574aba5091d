"""Faults that bring together what seldom meets by chance: a hang and a start, an answer and a pause, old and new."""

from __future__ import annotations

from node_agent.process import Role
from tests.simulation.faults import TWO_REPORTS, cut, freeze, watched
from tests.simulation.storm import Fault, Storm

_LONG = (250.0, 600.0)
"""Seconds in which a node is lost and what it held is moved."""
_COMES_BACK = 100.0
"""Seconds in which a terminal that was sent away has found no other place and runs again where it was."""


def _hangs_over_a_start(storm: Storm, kind: str) -> None:
    """A terminal dies, and its agent hangs when it has just started the next one."""
    node = storm.node()
    running = node.host.of_role(Role.TERMINAL)
    if not running or not watched(node):
        return
    process = storm.chance.choice(running)
    storm.happened(kind, process.name)
    process.end()
    seconds = storm.chance.uniform(*_LONG)
    storm.world.network.later(
        storm.chance.uniform(1.0, 9.0),
        lambda: freeze(storm, kind, node.agent, seconds) if watched(node) else None,
    )


def _policy_behind_a_cut(storm: Storm, kind: str) -> None:
    """Answers no longer reach a node, its traders ask for protection, and then nothing is heard of it for long."""
    node = storm.node()
    cut(storm, kind, [node], up=False, down=True, least=400.0)
    storm.world.network.later(5.0, lambda: storm.world.people.protect(node))
    storm.world.network.later(TWO_REPORTS, lambda: cut(storm, kind, [node], up=True, down=False, least=400.0))


def _frozen_over_an_answer(storm: Storm, kind: str) -> None:
    """An agent, or its whole machine, stands still between a question and its answer."""
    node = storm.node()
    host, whole = node.host, storm.chance.random() < 0.5
    seconds, boot_time_stands = storm.chance.uniform(*_LONG), storm.chance.random() < 0.5

    def asks() -> None:
        host.on_ask = lambda: None
        if not whole and watched(node):
            freeze(storm, kind, node.agent, seconds)
        elif whole and not host.frozen:
            storm.happened(kind, f"{host.name} for {seconds:.0f} s")
            host.freeze()
            storm.last(seconds, lambda: host.thaw(boot_time_stands) if host.frozen else None)

    host.on_ask = asks


def _all_on_one(storm: Storm, kind: str) -> None:
    """All nodes but one are emptied, so that everybody wants a place on that one."""
    node = storm.node()
    storm.happened(kind, node.host.name)
    storm.world.people.empty_all_but(node)
    storm.last(storm.span(), storm.world.people.open_all)


def _sent_back(storm: Storm, kind: str) -> None:
    """A terminal leaves its node and finds all others closed; its clients come back with what they have in hand."""
    node = storm.node()
    people = storm.world.people
    terminal_id = people.send_away(node)
    if terminal_id is None:
        return
    storm.happened(kind, f"{terminal_id[-4:]} of {node.host.name}")
    storm.world.clients.come_back_to(terminal_id)
    storm.world.network.later(1.0, lambda: people.close_all_but(node))
    storm.last(_COMES_BACK, people.open_all)


def _rivals(storm: Storm, kind: str) -> None:
    """Somebody else connects a login that the farm knows: one of the two has to wait."""
    storm.happened(kind, "")
    storm.world.people.rival()


MEETINGS: dict[str, Fault] = {
    "agent hangs over a start": _hangs_over_a_start,
    "policy changed behind a cut": _policy_behind_a_cut,
    "frozen over an answer": _frozen_over_an_answer,
    "all on one node": _all_on_one,
    "sent back": _sent_back,
    "rivals for a login": _rivals,
}
