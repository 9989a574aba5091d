"""A build is pinned for a broker server, tried on one node first, and rolled back."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane import cli
from control_plane.brokers import repository
from control_plane.brokers.service import add_server
from control_plane.errors import ConflictError, InvalidInputError, NotFoundError
from control_plane.releases.model import TerminalTemplate
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import TEMPLATES_PATH
from tests.unit.control_plane.releases.programs import program
from tests.unit.control_plane.world import NodePlayer, Trader, World

SERVER = "Real-Live"


@pytest.fixture
def real(world: World) -> World:
    """A farm that knows a real broker's server."""
    with world.farm.database.write_as_system() as session:
        add_server(session, world.farm.clock, SERVER, "Real Broker", None)
    return world


def folder(tmp_path: Path, build: int) -> Path:
    made = tmp_path / f"mt5-{build}"
    made.mkdir()
    (made / "terminal64.exe").write_bytes(program((5, 0, 0, build)))
    return made


def imported(world: World, source: Path, *servers: str) -> TerminalTemplate:
    with world.farm.database.write_as_system() as session:
        return world.farm.releases.import_template(session, source, "Real Broker", servers)


def builds(world: World, trader: Trader, *nodes: NodePlayer) -> list[int | None]:
    """What each node is to run for its terminal of the real server."""
    found = []
    for node in nodes:
        wanted = [each for each in node.fetch().terminals if each.server == SERVER]
        found += [each.template.build if each.template else None for each in wanted]
    return found


@pytest.fixture
def fleet(real: World, trader: Trader) -> tuple[NodePlayer, NodePlayer]:
    """Two nodes with a terminal of the real server each."""
    nodes = real.node(runtimes=("wine_container",), slots=1), real.node(runtimes=("wine_container",), slots=1)
    trader.enrol_second_factor()
    for login in (7001, 7002):
        trader.connect(login, server=SERVER)
    real.run_loops()
    return nodes


def test_the_first_template_of_a_server_is_pinned_at_once(
    real: World, trader: Trader, fleet: tuple[NodePlayer, NodePlayer], tmp_path: Path
) -> None:
    assert builds(real, trader, *fleet) == [None, None]
    imported(real, folder(tmp_path, 5200), SERVER)
    assert builds(real, trader, *fleet) == [5200, 5200]
    imported(real, folder(tmp_path, 5260), SERVER)
    assert builds(real, trader, *fleet) == [5200, 5200], "a later one waits until it is pinned"


def test_a_trial_is_for_one_node_and_ends_with_a_pin_or_a_roll_back(
    real: World, trader: Trader, fleet: tuple[NodePlayer, NodePlayer], tmp_path: Path
) -> None:
    imported(real, folder(tmp_path, 5200), SERVER)
    newer = imported(real, folder(tmp_path, 5260))
    releases, database = real.farm.releases, real.farm.database
    with database.write_as_system() as session:
        releases.try_on(session, SERVER, newer.id, fleet[1].node_id)
    assert builds(real, trader, *fleet) == [5200, 5260]
    with database.write_as_system() as session:
        assert getattr(releases.roll_back(session, SERVER), "build", None) == 5200
    assert builds(real, trader, *fleet) == [5200, 5200]
    with database.write_as_system() as session:
        releases.try_on(session, SERVER, newer.id, fleet[1].node_id)
        releases.pin(session, SERVER, newer.id)
        releases.pin(session, SERVER, newer.id)
    assert builds(real, trader, *fleet) == [5260, 5260]
    with database.write_as_system() as session:
        releases.roll_back(session, SERVER)
    assert builds(real, trader, *fleet) == [5200, 5200]


def test_a_node_that_is_not_concerned_by_a_trial_is_left_alone(
    real: World, trader: Trader, fleet: tuple[NodePlayer, NodePlayer], tmp_path: Path
) -> None:
    newer = imported(real, folder(tmp_path, 5260))
    before = fleet[0].sync().generation, fleet[1].sync().generation
    with real.farm.database.write_as_system() as session:
        real.farm.releases.try_on(session, SERVER, newer.id, fleet[1].node_id)
    assert fleet[0].sync().generation == before[0]
    assert fleet[1].sync().generation > before[1]


def test_what_was_never_run_cannot_be_rolled_back_to(real: World, tmp_path: Path) -> None:
    imported(real, folder(tmp_path, 5200), SERVER)
    with real.farm.database.write_as_system() as session, pytest.raises(ConflictError):
        real.farm.releases.roll_back(session, SERVER)


def test_only_what_nobody_needs_is_removed(real: World, tmp_path: Path) -> None:
    old, new = imported(real, folder(tmp_path, 5200), SERVER), imported(real, folder(tmp_path, 5260))
    releases, database = real.farm.releases, real.farm.database
    with database.write_as_system() as session:
        releases.pin(session, SERVER, new.id)
    for each in (old, new):
        with database.write_as_system() as session, pytest.raises(ConflictError, match=SERVER):
            releases.remove(session, each.id)
    unused = imported(real, folder(tmp_path, 5300))
    with database.write_as_system() as session:
        releases.remove(session, unused.id)
    assert not releases.archive(unused.sha256).exists()
    with database.write_as_system() as session, pytest.raises(NotFoundError):
        releases.remove(session, unused.id)


def test_the_same_content_twice_is_one_template(real: World, tmp_path: Path) -> None:
    source = folder(tmp_path, 5200)
    assert imported(real, source).id == imported(real, source, SERVER).id


def test_servers_and_files_that_are_none_are_refused(real: World, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not know"):
        imported(real, folder(tmp_path, 5200), "Nobody-Live")
    (tmp_path / "text").write_text("no terminal")
    with pytest.raises(InvalidInputError, match="neither a folder"):
        imported(real, tmp_path / "text")


class TestBytes:
    def get(self, node: NodePlayer, sha256: str, **headers: str):  # type: ignore[no-untyped-def]
        path = f"{TEMPLATES_PATH}/{sha256}"
        return node.http.get(path, headers={"Authorization": node.sign("GET", path, b""), **headers})

    def test_are_what_was_announced_whole_or_in_part(self, real: World, node: NodePlayer, tmp_path: Path) -> None:
        template = imported(real, folder(tmp_path, 5200))
        whole = self.get(node, template.sha256)
        assert whole.status_code == 200
        assert (hashlib.sha256(whole.content).hexdigest(), len(whole.content)) == (template.sha256, template.size)
        rest = self.get(node, template.sha256, Range="bytes=100-")
        assert rest.status_code == 206
        assert rest.headers["Content-Range"].startswith("bytes 100-")
        assert rest.content == whole.content[100:]

    def test_are_for_nodes_only_and_exist_or_not(self, real: World, node: NodePlayer, tmp_path: Path) -> None:
        template = imported(real, folder(tmp_path, 5200))
        assert self.get(node, "0" * 64).status_code == 404
        path = f"{TEMPLATES_PATH}/{template.sha256}"
        assert node.http.get(path, headers={"Authorization": "nobody"}).status_code == 401
        other = sign_request(node.identity, node.node_id, "GET", f"{TEMPLATES_PATH}/{'0' * 64}", b"", time.time())
        assert node.http.get(path, headers={"Authorization": other}).status_code == 401


def test_the_command_line_does_it_all(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        """The last line that it prints."""
        result = CliRunner().invoke(cli.app, [*arguments, "--data", str(tmp_path / "farm")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return (result.output.splitlines() or [""])[-1]

    run("broker-server", "add", "--name", SERVER, "--company", "Real Broker")
    old, new = (
        run("template", "import", str(folder(tmp_path, build)), "--broker", "B", "--server", SERVER).split()[0]
        for build in (5200, 5260)
    )
    run("template", "pin", SERVER, new)
    listed = run("template", "list")
    assert new in listed
    assert f"build 5260  B  pinned: {SERVER}" in listed
    assert "runs build 5200" in run("template", "roll-back", SERVER)
    with pytest.raises(ConflictError, match="used by"):
        run("template", "remove", old)


def test_servers_that_a_terminal_was_logged_in_to_come_into_the_directory(real: World, tmp_path: Path) -> None:
    source = folder(tmp_path, 5200)
    for name in ("Fresh-Demo", "Default", SERVER):
        history = source / "Bases" / name / "history" / "EURUSD"
        history.mkdir(parents=True)
        (history / "2026.hcc").write_bytes(b"bars")
    imported(real, source)
    with real.farm.database.read_as_system() as session:
        known = {each.name: (each.company, each.source) for each in repository.all_servers(session)}
    assert known["Fresh-Demo"] == ("Real Broker", "template")
    assert known[SERVER] == ("Real Broker", "operator")
    assert "Default" not in known
