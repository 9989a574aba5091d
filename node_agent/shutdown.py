"""Stops everything that an agent of a data folder has started. The agent itself must not be running."""

from __future__ import annotations

from contextlib import suppress

from node_agent.clock import Clock
from node_agent.database import Database
from node_agent.layout import DataLayout
from node_agent.process import Children, Role, is_alive
from node_agent.roster import Roster
from node_agent.runtimes.installed import installed_engines, installed_quarters
from node_agent.state import StateStore


def stop_everything(layout: DataLayout, grace: float, clock: Clock) -> int:
    """Bots, then workers, terminals, and the gateway. Returns how many it stopped. Blocks. Raises StorageError."""
    database = Database(layout.database)
    state = StateStore(database)
    roster = Roster(state, Children(), clock, installed_engines())
    handles = state.handles()
    alive = [handle for handle in handles if is_alive(handle)]
    for role in Role:
        roster.stop_all([handle.slot for handle in handles if handle.slot.role is role], grace)
    quarters = installed_quarters(None)
    for terminal_id in layout.terminals_on_disk():
        terminal = layout.terminal(terminal_id)
        for room in terminal.rooms.iterdir() if terminal.rooms.is_dir() else ():
            quarters.clear(terminal, room.name)
        # A terminal that was never let in still has its password on disk.
        with suppress(OSError):
            terminal.startup.unlink()
    database.close()
    return sum(not is_alive(handle) for handle in alive)
