"""The whole agent in the Windows Python under Wine: enrolled, synced, with its terminals, workers and gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.sandbox.package import digest, read_upload
from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.protocol.messages import BotLogBody, BotRule, CodeRef, DesiredBot, Guard
from provisioning.wine.tools import WineError
from tests.broker_process import running_broker
from tests.conformance.runtimes.drivers import pack_template
from tests.conformance.windows.windows_agent import WindowsAgentNode
from tests.conformance.windows.wine_machine import WineMachine, compile_stand_in, wine_machine
from tests.integration.node_agent.agent_node import bot_id
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

PASSWORD = "demo-password-1"
FENCE_SECONDS = 12.0


@pytest.fixture(scope="module")
def machine() -> Iterator[WineMachine]:
    try:
        with wine_machine() as machine:
            yield machine
    except WineError as error:
        pytest.skip(f"the agent cannot run as on Windows here: {error}")


@pytest.fixture
def node(machine: WineMachine, tmp_path: Path) -> Iterator[WindowsAgentNode]:
    plane = ControlPlaneStandIn(tmp_path)
    node = WindowsAgentNode(plane, machine)
    try:
        yield node
    finally:
        node.clean_up()
        plane.close()


@pytest.fixture
def broker() -> Iterator[tuple[str, BrokerAdmin]]:
    with running_broker(speed=60) as started:
        yield started


TRADES = """
import time
import MetaTrader5 as mt5

assert mt5.initialize()
tick = mt5.symbol_info_tick("EURUSD")
request = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": mt5.ORDER_TYPE_BUY,
           "price": tick.ask, "deviation": 50, "magic": 5, "type_filling": mt5.ORDER_FILLING_FOK}
print("sent", mt5.order_send(request).retcode)
open("left.txt", "w").write("x")
time.sleep(2)
1 / 0
"""


def _bot(node: WindowsAgentNode, source: str) -> DesiredBot:
    packed = read_upload("main.py", source.encode()).packed()
    node.plane.code[digest(packed)] = packed
    code = CodeRef(sha256=digest(packed), size=len(packed), kind="script", entry="main.py")
    values = {"strategy": "custom", "symbol": "EURUSD", "timeframe": "M1", "volume": 0.1, "parameters": {}}
    return DesiredBot.model_validate({**values, "bot_id": bot_id(1), "revision": 1, "magic": 901, "code": code})


@pytest.mark.timeout(600)
def test_simulated_terminals_run_on_windows_and_outlive_the_agent(
    node: WindowsAgentNode, broker: tuple[str, BrokerAdmin]
) -> None:
    address, admin = broker
    login = admin.create_account(password=PASSWORD)
    wish = node.desired(
        1, PASSWORD, login=login, server="MT5Farm-Demo", server_address=address, bots=[_bot(node, "import MetaTrader5")]
    )
    node.plane.want(wish)
    node.start()
    node.wait_phase(1, "ready", 180)
    # Wine makes no users, so none of a user's code is run, and its owner is told why.
    seen = wait_until(lambda: (now := node.observed(1)) and now.bots and now.bots[0].reason and now, 60, "the bot")
    assert (seen.bots[0].phase, seen.bots[0].reason.split(",")[0]) == (
        "failed",
        "Custom code runs as a Windows user of its own",
    )
    # A client of another machine, through the gateway on Windows to the worker on Windows.
    with node.open_session(1) as mt5:
        assert mt5.account_info().login == login
        before = node.wait_phase(1, "ready", 60)
        node.kill_agent()
        assert mt5.account_info().login == login
    syncs = len(node.plane.seen.syncs)
    node.start()
    wait_until(lambda: len(node.plane.seen.syncs) > syncs, 60, "the new agent speaks")
    after = node.wait_phase(1, "ready", 180)
    assert (after.terminal_pid, after.worker_pid) == (before.terminal_pid, before.worker_pid)
    node.plane.want(wish.model_copy(update={"running": False}))
    node.wait_phase(1, "stopped", 30)


@pytest.mark.timeout(600)
def test_brought_code_goes_its_whole_way_where_windows_pretends_to_confine_it(
    machine: WineMachine, broker: tuple[str, BrokerAdmin], tmp_path: Path
) -> None:
    """Agent, keeper, confined start, loopback relay, worker, log and status: all but what confines it."""
    address, admin = broker
    plane = ControlPlaneStandIn(tmp_path)
    node = WindowsAgentNode(plane, machine, "tests.conformance.windows.agent_with_rooms")
    try:
        login = admin.create_account(password=PASSWORD)
        wish = node.desired(1, PASSWORD, login=login, server="MT5Farm-Demo", server_address=address)
        bot, rule = _bot(node, TRADES), BotRule(magic=901)
        plane.want(wish.model_copy(update={"bots": [bot], "guard": Guard(bots={bot.bot_id: rule})}))
        node.start()
        node.wait_phase(1, "ready", 180)
        told = wait_until(lambda: (lines := _log(plane)) and "ZeroDivisionError" in lines[-1] and lines, 120, "the bot")
        assert told == ["sent 10009", "main.py, line 12: ZeroDivisionError: division by zero"]
        assert [deal.magic for deal in admin.deals(login) if deal.symbol] == [901]
        (left,) = (node.data / "rooms").glob("*/*/box/left.txt")
        seen = wait_until(lambda: (now := node.observed(1)) and now.bots[0].phase == "failed" and now, 30, "its end")
        assert seen.bots[0].reason == told[-1]
        plane.want()
        plane.drop(seen.terminal_id)
        wait_until(lambda: not left.exists(), 60, "its room goes with the terminal")
    finally:
        node.clean_up()
        plane.close()


def _log(plane: ControlPlaneStandIn) -> list[str]:
    bodies = (event.body for event in plane.seen.events.values())
    # It may have been started before the worker listened.
    return [each.text for each in bodies if isinstance(each, BotLogBody) and "ended by itself" not in each.text]


@pytest.mark.timeout(600)
def test_a_real_terminal_is_started_kept_and_stopped(node: WindowsAgentNode, tmp_path: Path) -> None:
    """Only terminal64.exe is a stand-in, that answers nobody: the official package says so, and so does the agent."""
    template = pack_template(tmp_path, compile_stand_in(tmp_path))
    node.plane.templates[template.ref.sha256] = template.archive.read_bytes()
    wish = node.desired(2, PASSWORD, login=5002, runtime="windows_process", template=template.ref)
    node.plane.want(wish)
    node.start()
    before = wait_until(lambda: (now := node.observed(2)) and now.worker_pid and now, 180, "terminal and worker")
    root = node.data / "terminals" / before.terminal_id
    wait_until((root / "folder" / "seen.txt").exists, 30, "the terminal has read its start-up file")
    assert (root / "folder" / "seen.txt").read_text().split()[:3] == ["5002", "1", str(before.terminal_pid)]
    bridge_log = root / "logs" / "bridge.log"
    wait_until(lambda: bridge_log.exists() and "runs MetaTrader5 5.0." in bridge_log.read_text(), 180, "the package")
    wait_until(lambda: "no link to the terminal: -100" in bridge_log.read_text(), 180, "what the package says")
    now = node.observed(2)
    assert now is not None
    assert (now.phase, now.detail) == ("launching", "The terminal does not answer yet.")

    node.kill_agent()
    syncs = len(node.plane.seen.syncs)
    node.start()
    wait_until(lambda: len(node.plane.seen.syncs) > syncs, 60, "the new agent speaks")
    after = wait_until(lambda: (now := node.observed(2)) and now.worker_pid and now, 30, "both again")
    assert (after.terminal_pid, after.worker_pid) == (before.terminal_pid, before.worker_pid)

    node.plane.want(wish.model_copy(update={"running": False}))
    node.wait_phase(2, "stopped", 30)
    assert not (root / "folder" / "config" / "startup.ini").exists()
    node.plane.drop(before.terminal_id)
    wait_until(lambda: not root.exists(), 30, "everything is removed")
    assert PASSWORD not in node.log.read_text()


@pytest.mark.timeout(600)
def test_the_watchdog_ends_a_fenced_terminal_s_job_when_the_agent_is_gone(
    node: WindowsAgentNode, tmp_path: Path
) -> None:
    template = pack_template(tmp_path, compile_stand_in(tmp_path))
    node.plane.templates[template.ref.sha256] = template.archive.read_bytes()
    node.plane.fence_seconds = FENCE_SECONDS
    wish = node.desired(3, PASSWORD, runtime="windows_process", template=template.ref, lease_policy="self_fence")
    node.plane.want(wish)
    node.start()
    seen = wait_until(lambda: (now := node.observed(3)) and now.worker_pid and now, 180, "terminal and worker")
    wait_until(lambda: node.plane.seen.syncs[-1].report.watchdog_up, 60, "the watchdog is up")
    assert node.commands_of(seen.terminal_id)
    node.kill_agent()
    wait_until(lambda: not node.commands_of(seen.terminal_id), FENCE_SECONDS + 60, "terminal and worker are dead")
    assert "lease over" in (node.data / "watchdog.log").read_text()
