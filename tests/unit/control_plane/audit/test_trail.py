"""Deeds: written with what they did, once and for all, and found out when anybody touches them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from control_plane import cli
from control_plane.audit.model import AuditChain, AuditEntry
from control_plane.audit.origin import coming_from
from control_plane.audit.service import Deed
from control_plane.audit.verification import Verdict, verify_database
from control_plane.errors import ConfigurationError
from tests.audit.tampering import KINDS, open_to_changes, tamper_with
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world


def entries(world: World, action: str = "") -> list[AuditEntry]:
    with world.farm.database.read_as_system() as session:
        found = session.query(AuditEntry).order_by(AuditEntry.tenant_id, AuditEntry.seq).all()
    return [each for each in found if action in {"", each.action}]


def verify(world: World) -> Verdict:
    with world.farm.database.read_as_system() as session:
        return verify_database(session, world.farm.head_keeper.kept(), world.farm.audit_key)


class TestWhatIsWritten:
    def test_what_a_trader_does_with_who_from_where_before_and_after(self, world: World, trader: Trader) -> None:
        account = trader.connect(5001, password="broker-secret")["id"]
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        (connected,), (stopped,) = entries(world, "connect_account"), entries(world, "set_intent")
        assert (connected.actor, connected.subject_id) == (trader.user["id"], account)
        assert json.loads(connected.after) == {"login": 5001, "server": "MT5Farm-Demo"}
        assert (json.loads(stopped.before), json.loads(stopped.after)) == ({"intent": "running"}, {"intent": "stopped"})
        assert "req_" in stopped.origin
        assert all("broker-secret" not in each.after + each.before + each.reason for each in entries(world))

    def test_every_wish_of_a_trader(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(trader, node)
        trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "new"})
        trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
        trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "read"})
        trader.call("POST", f"/accounts/{account}/end-sessions", 204)
        wish = {"account_id": account, "name": "b", "strategy": "moving_average_cross", "symbol": "EURUSD"}
        bot = trader.call("POST", "/bots", 201, {**wish, "timeframe": "M1", "volume": 0.1, "parameters": {}})["id"]
        trader.call("POST", f"/bots/{bot}/start", 202)
        trader.call("POST", f"/bots/{bot}/stop", 202)
        trader.call("DELETE", f"/accounts/{account}", 202)
        assert {each.action for each in entries(world)} >= {
            "connect_account", "change_password", "set_lease_policy", "issue_ticket", "end_sessions",
            "create_bot", "start_bot", "stop_bot", "remove_account", "enrol",
        }  # fmt: skip

    def test_an_operator_acts_on_behalf_of_the_owner(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        body = {"policy": "self_fence", "reason": "asked by phone"}
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/lease-policy"
        world.operator().call("PUT", path, 200, body)
        (deed,) = entries(world, "set_lease_policy")
        assert (deed.actor, deed.on_behalf_of) == ("ops@example.com", trader.user["id"])

    def test_a_deed_that_is_rolled_back_was_never_done(self, world: World) -> None:
        def fail() -> None:
            with world.farm.database.write_as_system() as session:
                tenant = world.farm.identity.bootstrap(session).id
                world.farm.audit.record(session, tenant, Deed("me", "try", "x", ""))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert entries(world) == []

    @pytest.mark.parametrize("name", ["password", "new_password", "api_token", "Secret"])
    def test_what_is_named_like_a_secret_is_refused(self, world: World, name: str) -> None:
        with world.farm.database.write_as_system() as session, pytest.raises(ValueError, match="no place"):
            world.farm.audit.record(session, "ten", Deed("me", "try", "x", "", after={name: "x"}))

    def test_the_origin_is_the_one_of_the_moment(self, world: World) -> None:
        with world.farm.database.write_as_system() as session, coming_from("command line"):
            tenant = world.farm.identity.bootstrap(session).id
            world.farm.audit.record(session, tenant, Deed("me", "one", "x", ""))
        with world.farm.database.write_as_system() as session:
            world.farm.audit.record(session, tenant, Deed("me", "two", "x", ""))
        assert [each.origin for each in entries(world)] == ["command line", "farm"]


class TestWhole:
    @pytest.fixture(autouse=True)
    def deeds(self, world: World, trader: Trader) -> None:
        for login in range(5001, 5006):
            trader.connect(login)
        world.run_loops()
        trader.connect(5006)

    def test_an_untouched_trail_is_whole(self, world: World) -> None:
        assert verify(world) == Verdict(6, ())

    @pytest.mark.parametrize("statement", ["UPDATE audit_entries SET reason = 'x'", "DELETE FROM audit_entries"])
    def test_the_database_lets_nothing_be_changed(self, world: World, statement: str) -> None:
        with world.farm.database.write_as_system() as session, pytest.raises(DBAPIError, match="only ever added"):
            session.execute(text(statement))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("seed", range(4))
    def test_whoever_changes_something_is_found(self, world: World, kind: str, seed: int) -> None:
        with world.farm.database.write_as_system() as session:
            open_to_changes(session)
            tamper_with(session, kind, seed)
        assert verify(world).findings

    def test_a_chain_that_is_rolled_back_whole_is_found_by_the_head_kept_apart(self, world: World) -> None:
        with world.farm.database.read_as_system() as session:
            early = session.query(AuditChain).one()
        old = (early.seq, early.head_hash, early.signature)
        with world.farm.database.write_as_system() as session:
            tenant = early.tenant_id
            world.farm.audit.record(session, tenant, Deed("me", "theft", "x", ""))
        world.run_loops()
        with world.farm.database.write_as_system() as session:
            open_to_changes(session)
            session.execute(text("DELETE FROM audit_entries WHERE action = 'theft'"))
            chain = session.query(AuditChain).one()
            chain.seq, chain.head_hash, chain.signature = old
        assert [each.problem for each in verify(world).findings] == ["entries up to here have been cut off"]

    def test_a_tampered_head_never_replaces_a_kept_one(self, world: World) -> None:
        with world.farm.database.write_as_system() as session:
            session.query(AuditChain).one().signature = b"forged"
        again = build_world(world.data)
        before = again.farm.head_keeper.kept()
        again.farm.head_keeper.run_once()
        assert again.farm.head_keeper.kept() == before
        again.farm.stop()

    def test_the_command_tells_and_exits_with_one(self, world: World) -> None:
        result = CliRunner().invoke(cli.app, ["audit", "verify", "--data", str(world.data)])
        assert (result.exit_code, "findings    0" in result.output) == (0, True)
        with world.farm.database.write_as_system() as session:
            open_to_changes(session)
            session.execute(text("UPDATE audit_entries SET actor = 'somebody else' WHERE seq = 3"))
        result = CliRunner().invoke(cli.app, ["audit", "verify", "--data", str(world.data)])
        assert result.exit_code == 1
        assert "entry 3: the entry has been changed" in result.output

    def test_an_export_can_be_checked_without_the_farm(self, world: World, trader: Trader, tmp_path: Path) -> None:
        file = tmp_path / "trail.jsonl"
        tenant = trader.user["tenant_id"]
        options = ["--data", str(world.data), "--tenant", tenant, "--into", str(file)]
        assert CliRunner().invoke(cli.app, ["audit", "export", *options]).exit_code == 0
        check = ["audit", "verify-export", str(file), "--public-key", world.farm.audit_key]
        whole = CliRunner().invoke(cli.app, check)
        assert (whole.exit_code, "entries     7" in whole.output) == (0, True)
        lines = file.read_text().splitlines()
        for changed in (lines[:2] + lines[3:], [lines[0].replace("5001", "5002"), *lines[1:]], lines[:-2] + lines[-1:]):
            file.write_text("\n".join(changed) + "\n")
            assert CliRunner().invoke(cli.app, check).exit_code == 1


def test_the_key_of_the_trail_is_not_made_twice(world: World) -> None:
    again = build_world(world.data)
    assert again.farm.audit_key == world.farm.audit_key
    again.farm.stop()
    with world.farm.database.write_as_system() as session:
        session.execute(text("UPDATE farm_keys SET public = 'x' WHERE name = 'audit'"))
    with pytest.raises(ConfigurationError):
        build_world(world.data)
