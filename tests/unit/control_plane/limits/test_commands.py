"""`mt5farm limits`: what one tenant may do more or less."""

from __future__ import annotations

import sys
from unittest import mock

import pytest

from control_plane.audit.model import AuditEntry
from control_plane.cli import main
from control_plane.limits.tenants import TenantRates
from tests.unit.control_plane.world import World


def run(world: World, *arguments: str) -> int:
    command = ["mt5farm", "limits", *arguments, "--data", str(world.data)]
    # Its logs would go on to where this test's output went.
    quiet = mock.patch("control_plane.cli.configure_logs")
    with mock.patch.object(sys, "argv", command), quiet, pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def operators_tenant(world: World) -> tuple[str, str]:
    with world.farm.database.write_as_system() as session:
        tenant = world.farm.identity.bootstrap(session)
        return tenant.id, tenant.name


def test_limits_are_set_shown_and_written_into_the_trail(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tenant_id, name = operators_tenant(world)
    said = ("--requests-of-user", "77/60", "--streams-of-user", "3", "--reason", "plan")
    assert run(world, "set", name, *said) == 0
    own = TenantRates(world.farm.database).of(tenant_id)
    assert (str(own.user), own.key, own.streams_of_user, own.streams_of_tenant) == ("77/60", None, 3, None)
    with world.farm.database.read(tenant_id) as session:
        assert [each.reason for each in session.query(AuditEntry).filter_by(action="set_limits")] == ["plan"]
    assert run(world, "list") == 0
    assert "77/60" in capsys.readouterr().out


def test_what_is_not_said_again_is_as_in_the_settings(world: World) -> None:
    tenant_id, name = operators_tenant(world)
    run(world, "set", name, "--requests-of-user", "77/60", "--reason", "plan")
    run(world, "set", name, "--requests-of-tenant", "9/60", "--reason", "another plan")
    own = TenantRates(world.farm.database).of(tenant_id)
    assert (own.user, str(own.tenant)) == (None, "9/60")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("nobody",), "no tenant 'nobody'"), (("operator", "--requests-of-user", "fast"), "say requests/seconds")],
)
def test_what_cannot_be_is_said(
    world: World, arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, "set", *arguments, "--reason", "r") == 1
    assert sentence in capsys.readouterr().err


def test_the_database_is_not_asked_by_every_request(world: World) -> None:
    tenant_id, name = operators_tenant(world)
    seconds = [0.0]
    rates = TenantRates(world.farm.database, lambda: seconds[0])
    assert rates.of(tenant_id).user is None
    run(world, "set", name, "--requests-of-user", "77/60", "--reason", "plan")
    seconds[0] = 29.0
    assert rates.of(tenant_id).user is None
    seconds[0] = 30.0
    assert str(rates.of(tenant_id).user) == "77/60"
