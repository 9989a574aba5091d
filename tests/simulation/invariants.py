"""What must hold at every step, and what must have come to pass in the end."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from control_plane.assignments.relocation import Proof
from control_plane.assignments.state import AssignmentState
from node_agent.plan import Verb, terminal_fingerprint
from node_agent.protocol.messages import DealBody, Event, Phase
from tests.simulation.broker import Deal
from tests.simulation.host import OsProcess
from tests.simulation.processes import TerminalProcess

if TYPE_CHECKING:
    from tests.simulation.world import World


_REFUSALS = 6
"""The agent's own bound is two; one that dies or loses its newest writes may forget one or the other."""
_IN_FLIGHT = 6.0
"""Seconds that the actions of one plan may take."""
_SURELY_SILENT = 60.0
_TOGETHER = 100.0


class Invariants:
    """Judges from the truth of the world: the processes, the broker's book and the rows of the database."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self._newest_epoch: dict[str, int] = {}
        """Terminal id to the highest epoch under which a process of it has been logged in."""
        self._refusals: Counter[tuple[str, str]] = Counter()

    def logged_in(self, process: TerminalProcess) -> None:
        known = self._newest_epoch.get(process.terminal_id, 0)
        self._newest_epoch[process.terminal_id] = max(known, process.epoch)
        self._world.note(
            f"{process.host.name}: {process.terminal_id[-4:]} epoch {process.epoch} logged in to {process.login}"
        )
        if any(process.host is clone.host for clone in self._world.clones):
            self._world.break_rule(f"a copy of a node runs a terminal: {process.host.name}")
        self.one_holder(process.login)

    def one_holder(self, login: int) -> None:
        able = [each for each in self._world.terminals() if each.login == login and each.able]
        if len(able) > 1:
            where = ", ".join(f"{each.host.name} epoch {each.epoch}" for each in able)
            self._world.break_rule(f"two terminals can trade on one account: {where}")

    def traded(self, process: TerminalProcess, deal: Deal, epoch: int, order_id: str) -> None:
        self._world.counts["deals"] += 1
        if epoch < self._newest_epoch.get(process.terminal_id, 0):
            self._world.break_rule(f"a trade under epoch {epoch} after a newer one had traded ({process.host.name})")
        self.one_holder(process.login)

    def refused(self, process: TerminalProcess) -> None:
        """The broker has refused a password; brokers lock accounts after a few."""
        key = (process.terminal_id, process.password)
        self._refusals[key] += 1
        self._world.note(f"{process.host.name}: {process.terminal_id[-4:]} refused by the broker")
        if self._refusals[key] > _REFUSALS:
            self._world.break_rule(f"{process.terminal_id[-4:]} was refused {self._refusals[key]} times")

    def stopping(self, process: TerminalProcess, why: str) -> None:
        """The agent is about to end a terminal. What keeps running ends only when the control plane said so."""
        self._world.note(f"{process.host.name}: {process.terminal_id[-4:]} {why}")
        told = process.host.told.get(process.terminal_id)
        if told is None or why != Verb.STOP_TERMINAL or told.lease_policy != "keep_running":
            return
        if self._world.loop.now - process.host.told_at < _IN_FLIGHT:
            return  # it was planned before the newest wish was known
        if process.host.disk.was_full:
            return  # an agent that dies then goes back to the snapshot before the one that it acted upon
        handle = process.started_for
        if told.running and handle == terminal_fingerprint(told) and not process.refused and not process.may_restart:
            self._world.break_rule(f"a terminal that should keep running was stopped on {process.host.name}")

    def fenced(self, process: OsProcess) -> None:
        """The watchdog kills."""
        self._world.note(f"watchdog kills {process.name}")
        self._world.counts["fenced by the watchdog"] += 1
        if isinstance(process, TerminalProcess):
            told = process.host.told.get(process.terminal_id)
            # On a full disk the watchdog may not have been told of the newest policy; it errs to the safe side then.
            if told is not None and told.lease_policy == "keep_running" and not process.host.disk.was_full:
                self._world.break_rule(f"the watchdog killed what should keep running on {process.host.name}")

    def events_rejected(self, reasons: dict[str, str]) -> None:
        for event_id, reason in reasons.items():
            self._world.break_rule(f"event {event_id} was rejected: {reason}")

    def spool_removed(self, events: list[Event]) -> None:
        """They leave the node: the control plane must have them."""
        for event in events:
            if isinstance(event.body, DealBody) and not self._world.database.query(
                "SELECT 1 FROM deals WHERE account_id = ? AND ticket = ?", event.account_id, event.body.ticket
            ):
                self._world.break_rule(f"event {event.event_id} left the spool and is not stored")

    def database_changed(self) -> None:
        world, database = self._world, self._world.database
        for what in database.broken():
            world.break_rule(what)
        if not world.ever_cloned and database.ever_locked():
            world.break_rule("an identity was locked that nobody had copied")
        for terminal_id, node_id, epoch, proof in database.take_released():
            world.note(f"released {terminal_id[-4:]} epoch {epoch}: {proof}")
            world.counts[f"released: {proof}"] += 1
            self._released(terminal_id, node_id, epoch)
            if proof == Proof.SELF_FENCED:
                self._not_frozen()

    def _released(self, terminal_id: str, node_id: str, epoch: int) -> None:
        for process in self._world.terminals():
            if process.terminal_id == terminal_id and process.node_id == node_id and process.able:
                self._world.break_rule(f"epoch {epoch} was released while its terminal runs on {process.host.name}")

    def _not_frozen(self) -> None:
        """An independent count of the nodes that fell silent together; a little generous about the edges."""
        now = self._world.loop.now
        rows = self._world.database.query(
            "SELECT coalesce(silent_since, last_seen_at) FROM nodes "
            "WHERE identity_state = 'trusted' AND declared_dead_at IS NULL"
        )
        lifted = self._world.database.query("SELECT 1 FROM relocation_breaker WHERE lifted_at IS NOT NULL")
        seen = sorted(datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp() for row in rows)
        silent = [at for at in seen if now - at > _SURELY_SILENT]
        together = max((sum(0 <= other - at <= _TOGETHER for other in silent) for at in silent), default=0)
        if together > max(3, len(rows) // 5) and not lifted:
            self._world.break_rule(f"{together} of {len(rows)} nodes fell silent together, and a terminal was moved")

    def missing(self) -> list[str]:
        """What is desired and has not come to pass yet."""
        world = self._world
        if not world.plane.up:
            return ["the control plane is down"]
        rows = world.database.query(
            "SELECT a.id, a.login, a.deleted_at, t.id, t.intent, s.node_id, s.epoch, s.state, o.phase, o.epoch "
            "FROM accounts a JOIN terminals t ON t.account_id = a.id "
            "LEFT JOIN assignments s ON s.terminal_id = t.id AND s.released_at IS NULL "
            "LEFT JOIN terminal_observations o ON o.terminal_id = t.id ORDER BY a.id"
        )
        running = world.terminals()
        lacking = []
        logins = [row[1] for row in rows if row[4] == "running"]
        for _account, login, _deleted, terminal, intent, node_id, epoch, state, phase, seen_epoch in rows:
            processes = [process for process in running if process.terminal_id == terminal]
            short = terminal[-4:]
            if intent != "running":
                if processes or node_id:
                    lacking.append(f"{short} should be gone")
                continue
            emptied = world.people.emptied
            if emptied is not None and node_id == emptied.identity.node_id and self._has_room_beside(node_id):
                lacking.append(f"{short} should have left {emptied.host.name}")
            elif logins.count(login) > 1:
                continue  # rivals for one login: at most one runs, the others wait
            elif node_id is None:
                lacking.append(f"{short} has no place")
            elif len(processes) != 1 or not processes[0].able or processes[0].node_id != node_id:
                lacking.append(f"{short} does not run where it should")
            elif state != AssignmentState.ACTIVE:
                lacking.append(f"{short} is shown as {state}")
            elif phase != Phase.READY or seen_epoch != epoch:
                lacking.append(f"{short} runs and is shown as {phase}")
        lacking += [
            f"{node.host.name} has events to deliver" for node in world.nodes if node.agent and node.agent.spool
        ]
        return lacking + self._trade_log([row[1] for row in rows])

    def _has_room_beside(self, node_id: str) -> bool:
        """Rivals, also those whose password is refused, may have taken all slots of the other nodes."""
        (taken,) = self._world.database.query(
            "SELECT count(*) FROM assignments WHERE released_at IS NULL AND node_id <> ?", node_id
        )[0]
        return int(taken) < (len(self._world.nodes) - 1) * self._world.scenario.slots

    def _trade_log(self, logins: list[int]) -> list[str]:
        """How the trade log differs from the broker's book, for accounts that nobody else has connected."""
        query = self._world.database.query
        lacking = []
        for account, login in query(
            "SELECT a.id, a.login FROM accounts a JOIN terminals t ON t.account_id = a.id WHERE t.intent = 'running'"
        ):
            if logins.count(login) > 1:
                continue
            stored = [row[0] for row in query("SELECT ticket FROM deals WHERE account_id = ?", account)]
            true = {deal.ticket for deal in self._world.broker.accounts[login].deals}
            if lost := true - set(stored):
                lacking.append(f"{len(lost)} deals of {login} are not in the trade log")
            if len(stored) != len(set(stored)) or set(stored) - true:
                self._world.break_rule(f"deals of {login} were doubled or made up")
        return lacking
