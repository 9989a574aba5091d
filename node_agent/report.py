"""What the agent tells the control plane of one terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from node_agent.process import SHOWS_SCREEN, Role, Slot
from node_agent.protocol.messages import DesiredTerminal, ObservedBot, ObservedTerminal, Phase
from node_agent.record import BotRecord, TerminalRecord
from node_agent.roster import Roster

Dated = Callable[[float], datetime]
"""From the agent's clock to what people read."""
_HIDES_ACCOUNT = frozenset({Phase.STOPPED, Phase.FAILED, Phase.ABSENT})


def observed_terminal(
    record: TerminalRecord, desired: DesiredTerminal | None, roster: Roster, now: float, dated: Dated
) -> ObservedTerminal:
    """`now` dates what was never dated before."""
    terminal = roster.running(Slot(Role.TERMINAL, record.terminal_id))
    worker = roster.running(Slot(Role.WORKER, record.terminal_id))
    account = record.probe.account if record.probe and record.health.phase not in _HIDES_ACCOUNT else None
    revisions = {bot.bot_id: bot.revision for bot in desired.bots} if desired else {}
    return ObservedTerminal(
        terminal_id=record.terminal_id,
        epoch=record.epoch,
        phase=record.health.phase,
        reason=record.health.reason,
        detail=record.health.detail,
        since=dated(record.health_since or now),
        last_answer_at=None if record.last_answer_at is None else dated(record.last_answer_at),
        restarts=record.memory.restarts.count,
        terminal_pid=terminal.pid if terminal else None,
        worker_pid=worker.pid if worker else None,
        account=account,
        bots=[
            _observed_bot(bot_id, bot, revisions.get(bot_id, 0), record.terminal_id, roster, now, dated)
            for bot_id, bot in sorted(record.bots.items())
        ],
        finished_requests=list(record.memory.finished_requests),
        memory=record.growth.now if record.growth and terminal and record.growth.pid == terminal.pid else None,
        flat=record.probe.flat if account is not None and record.probe else None,
        screen=terminal is not None and SHOWS_SCREEN in terminal.facts,
        guard=record.probe.guard if record.probe else None,
        build=record.probe.build if account is not None and record.probe else None,
    )


def _observed_bot(
    bot_id: str, bot: BotRecord, revision: int, terminal_id: str, roster: Roster, now: float, dated: Dated
) -> ObservedBot:
    handle = roster.running(Slot(Role.BOT, terminal_id, bot_id))
    return ObservedBot(
        bot_id=bot_id,
        revision=revision,
        phase=bot.phase,
        reason=bot.detail,
        since=dated(bot.since or now),
        restarts=bot.restarts.count,
        pid=handle.pid if handle else None,
    )
