"""What a node should run, built from its assignments, with credentials sealed to its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from control_plane.access import repository as access_repository
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy
from control_plane.assignments.repository import Placement
from control_plane.assignments.state import is_leaving
from control_plane.bots import repository as bots_repository
from control_plane.bots.model import Bot
from control_plane.fleet.model import Node
from control_plane.terminals.state import Hold, Intent, should_run
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Vault
from node_agent.protocol.messages import DesiredBot, DesiredSnapshot, DesiredTerminal, Guard
from node_agent.protocol.sealing import Credentials, SealContext, seal

_log = structlog.get_logger(__name__)


def build_snapshot(session: Session, vault: Vault, node: Node, now: datetime) -> DesiredSnapshot:
    placements = assignments_repository.of_node(session, node.id)
    bots: dict[str, list[Bot]] = defaultdict(list)
    for bot in bots_repository.running_of_accounts(session, [each.account.id for each in placements]):
        bots[bot.account_id].append(bot)
    terminals = [_terminal(session, vault, node, each, bots[each.account.id]) for each in placements]
    return DesiredSnapshot(
        generation=node.generation,
        terminals=[each for each in terminals if each is not None],
        revoked_tickets=access_repository.revoked_tickets(session, node.id, now),
    )


def _terminal(
    session: Session, vault: Vault, node: Node, placement: Placement, bots: Sequence[Bot]
) -> DesiredTerminal | None:
    assignment, terminal, account = placement.assignment, placement.terminal, placement.account
    try:
        opened = vault.open_credentials(session, account.tenant_id, account.id)
    except SealBrokenError as error:
        # One account whose row was tampered with must not keep the node's other terminals from their snapshot.
        _log.error("credentials_cannot_be_opened", account=account.id, error=str(error))
        return None
    context = SealContext(account.tenant_id, account.id, terminal.id, assignment.epoch)
    credentials = Credentials(login=account.login, password=opened.password, server=account.server)
    return DesiredTerminal(
        terminal_id=terminal.id,
        account_id=account.id,
        tenant_id=account.tenant_id,
        epoch=assignment.epoch,
        running=should_run(Intent(terminal.intent), Hold(terminal.hold)) and not is_leaving(assignment.state),
        runtime=assignment.runtime,
        login=account.login,
        server=account.server,
        server_address=placement.server.simulated_address,
        credentials=seal(credentials, node.sealing_key, context),
        credentials_version=opened.version,
        guard=Guard(),
        bots=[_bot(bot) for bot in bots],
        lease_policy=LeasePolicy(terminal.lease_policy).value,
        access_epoch=terminal.access_epoch,
    )


def _bot(bot: Bot) -> DesiredBot:
    return DesiredBot(
        bot_id=bot.id,
        revision=bot.revision,
        strategy=bot.strategy,
        symbol=bot.symbol,
        timeframe=bot.timeframe,
        volume=bot.volume,
        magic=bot.magic,
        parameters=bot.parameters,
    )
