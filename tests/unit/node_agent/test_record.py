"""When a terminal may be looked at less often."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.health import Health
from node_agent.layout import DataLayout
from node_agent.protocol.messages import BotPhase, Phase
from node_agent.record import BotRecord, TerminalRecord
from node_agent.state import TerminalMemory


@pytest.fixture
def record(tmp_path: Path) -> TerminalRecord:
    layout = DataLayout.open(tmp_path).terminal("ter_0000000000000001")
    return TerminalRecord("ter_0000000000000001", layout, TerminalMemory(), health=Health(Phase.READY))


@pytest.mark.parametrize("phase", Phase)
def test_a_terminal_is_at_rest_once_time_alone_changes_nothing(record: TerminalRecord, phase: Phase) -> None:
    record.health = Health(phase)
    assert record.is_at_rest() == (phase in {Phase.READY, Phase.STOPPED, Phase.FAILED})


def test_not_while_something_is_done_with_it(record: TerminalRecord) -> None:
    record.in_flight = True
    assert not record.is_at_rest()


@pytest.mark.parametrize("phase", BotPhase)
def test_not_while_a_bot_starts_or_waits_to(record: TerminalRecord, phase: BotPhase) -> None:
    record.bots["bot_1"] = BotRecord(phase=phase)
    assert record.is_at_rest() == (phase not in {BotPhase.STARTING, BotPhase.BACKING_OFF})
