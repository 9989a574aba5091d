"""What must hold at every step, and what must have come to pass in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node_agent.process import Role
from node_agent.protocol.messages import Phase
from tests.simulation.broker import Deal
from tests.simulation.processes import TerminalProcess

if TYPE_CHECKING:
    from tests.simulation.world import World


class Invariants:
    """Judges from the truth of the world: the processes, the broker's book and the rows of the database."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self._newest_epoch: dict[str, int] = {}
        """Terminal id to the highest epoch under which a process of it has been logged in."""
        self.recent: list[TerminalProcess] = []

    def logged_in(self, process: TerminalProcess) -> None:
        known = self._newest_epoch.get(process.terminal_id, 0)
        self._newest_epoch[process.terminal_id] = max(known, process.epoch)
        self._world.note(
            f"{process.host.name}: {process.terminal_id[-4:]} epoch {process.epoch} logged in to {process.login}"
        )
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

    def stopping(self, process: TerminalProcess, why: str) -> None:
        """The agent is about to end a terminal."""
        self._world.note(f"{process.host.name}: {process.terminal_id[-4:]} {why}")

    def database_changed(self) -> None:
        database = self._world.database
        for what in database.broken():
            self._world.break_rule(what)
        for terminal_id, node_id, epoch in database.take_released():
            self._world.note(f"released {terminal_id[-4:]} epoch {epoch}")
            for node in self._world.nodes:
                if node.identity.node_id != node_id:
                    continue
                for process in node.host.of_role(Role.TERMINAL):
                    if isinstance(process, TerminalProcess) and process.terminal_id == terminal_id and process.able:
                        self._world.break_rule(f"epoch {epoch} was released while its terminal runs on {node.host.name}")

    def missing(self) -> list[str]:
        """What is desired and has not come to pass yet."""
        world = self._world
        if not world.plane.up:
            return ["the control plane is down"]
        rows = world.database.query(
            "SELECT a.id, a.login, a.deleted_at, t.id, t.intent, s.node_id, s.epoch, o.phase, o.epoch "
            "FROM accounts a JOIN terminals t ON t.account_id = a.id "
            "LEFT JOIN assignments s ON s.terminal_id = t.id AND s.released_at IS NULL "
            "LEFT JOIN terminal_observations o ON o.terminal_id = t.id ORDER BY a.id"
        )
        running = world.terminals()
        lacking = []
        logins = [row[1] for row in rows if row[4] == "running"]
        for _account, login, _deleted, terminal, intent, node_id, epoch, phase, seen_epoch in rows:
            processes = [process for process in running if process.terminal_id == terminal]
            short = terminal[-4:]
            if intent != "running":
                if processes or node_id:
                    lacking.append(f"{short} should be gone")
                continue
            if logins.count(login) > 1:
                continue  # rivals for one login: at most one runs, the others wait
            if node_id is None:
                lacking.append(f"{short} has no place")
            elif len(processes) != 1 or not processes[0].able or processes[0].node_id != node_id:
                lacking.append(f"{short} does not run where it should")
            elif phase != Phase.READY or seen_epoch != epoch:
                lacking.append(f"{short} runs and is shown as {phase}")
        lacking += [f"{node.host.name} has events to deliver" for node in world.nodes if node.agent and node.agent.spool]
        return lacking + self._trade_log([row[1] for row in rows])

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
