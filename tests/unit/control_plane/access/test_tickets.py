"""Tickets that the farm gives out are the ones that gateways accept."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from control_plane.access.tickets import TicketIssuer
from control_plane.clock import SystemClock
from node_agent.protocol import tickets
from node_agent.protocol.encoding import from_text
from tests.unit.control_plane.world import NodePlayer, Trader, World


def keys(node: NodePlayer) -> dict[str, Ed25519PublicKey]:
    return {each.kid: Ed25519PublicKey.from_public_bytes(from_text(each.key)) for each in node.welcome.ticket_keys}


def test_a_ticket_names_its_terminal_epoch_scope_and_holder(
    world: World, trader: Trader, node: NodePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, wanted = world.ready_account(trader, node)
    with world.farm.database.write_as_system() as session:
        issuer = TicketIssuer.load_or_create(session, world.farm.vault, SystemClock())
    monkeypatch.setattr(world.farm.tickets, "issue", issuer.issue)
    shown = trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "read"})
    ticket = tickets.verify(shown["ticket"], keys(node), node.node_id)
    assert (ticket.terminal_id, ticket.epoch, ticket.scope) == (wanted.terminal_id, wanted.epoch, "read")
    assert ticket.principal == f"user:{trader.user['id']}"
    assert (shown["gateway"], shown["server_name"]) == ("127.0.0.1:4443", node.node_id)
    assert shown["ca_pem"] == node.welcome.ca_pem
    with pytest.raises(tickets.TicketError, match="another node"):
        tickets.verify(shown["ticket"], keys(node), "nod_0000000000000000")


def test_there_is_none_for_a_terminal_without_a_place(trader: Trader) -> None:
    account = trader.connect()
    problem = trader.call("POST", f"/accounts/{account['id']}/tickets", 409, {"scope": "trade"})
    assert (problem["code"], problem["retryable"]) == ("terminal_not_ready", True)
