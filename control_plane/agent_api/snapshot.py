"""What a node should run, built from its assignments, with credentials sealed to its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from control_plane.bots.state import BotIntent, may_open
from control_plane.fleet.model import Node
from control_plane.releases.service import template_refs
from control_plane.risk import service as risk_service
from control_plane.strategies import repository as strategies_repository
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.model import OneOffRequest
from control_plane.terminals.state import Hold, Intent, RequestKind, should_run
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import OpenCredentials, Vault
from node_agent.protocol.messages import (
    BotRule,
    CodeRef,
    DesiredBot,
    DesiredSnapshot,
    DesiredTerminal,
    Guard,
    GuardMemory,
    TemplateRef,
    TerminalRequest,
)
from node_agent.protocol.sealing import Credentials, SealContext, seal

_log = structlog.get_logger(__name__)


def build_snapshots(session: Session, vault: Vault, nodes: Sequence[Node], now: datetime) -> dict[str, DesiredSnapshot]:
    """By node id. Each query is made once for all of them."""
    if not nodes:
        return {}
    ids = [node.id for node in nodes]
    held = assignments_repository.of_nodes(session, ids)
    placements = [each for node_id in ids for each in held[node_id]]
    bots: dict[str, list[Bot]] = defaultdict(list)
    for bot in bots_repository.running_of_accounts(session, [each.account.id for each in placements]):
        bots[bot.account_id].append(bot)
    codes = _codes(session, [bot for each in bots.values() for bot in each])
    templates = template_refs(session, ids)
    requests: dict[str, list[OneOffRequest]] = defaultdict(list)
    for request in terminals_repository.open_requests(session, [each.terminal.id for each in placements]):
        requests[request.terminal_id].append(request)
    passwords = vault.open_all(session, {each.account.id: each.account.tenant_id for each in placements})
    limits = risk_service.guards(session, placements, now)
    revoked = access_repository.revoked_tickets(session, ids, now)

    def terminal(node: Node, placement: Placement) -> DesiredTerminal:
        account_id = placement.account.id
        credentials = _credentials(session, vault, node, placement, passwords[account_id])
        asked = requests[placement.terminal.id]
        wanted = _terminal(placement, credentials, bots[account_id], asked, templates[node.id], codes)
        return _guarded(wanted, *limits[account_id])

    return {
        node.id: DesiredSnapshot(
            generation=node.generation,
            terminals=[terminal(node, each) for each in held[node.id]],
            revoked_tickets=revoked[node.id],
        )
        for node in nodes
    }


def _guarded(terminal: DesiredTerminal, guard: Guard, memory: GuardMemory | None) -> DesiredTerminal:
    """Bots go on under "no new orders", since they also look after what is open; they end when all is closed."""
    bots = [] if guard.kill == "close_all" else terminal.bots
    whole = guard.model_copy(update={"bots": terminal.guard.bots})
    return terminal.model_copy(update={"guard": whole, "guard_memory": memory, "bots": bots})


def _terminal(
    placement: Placement,
    credentials: tuple[str, int],
    bots: Sequence[Bot],
    requests: Sequence[OneOffRequest],
    templates: Mapping[str, TemplateRef],
    codes: Mapping[str, CodeRef],
) -> DesiredTerminal:
    assignment, terminal, account = placement.assignment, placement.terminal, placement.account
    sealed, version = credentials
    return DesiredTerminal(
        terminal_id=terminal.id,
        account_id=account.id,
        tenant_id=account.tenant_id,
        epoch=assignment.epoch,
        running=(
            should_run(Intent(terminal.intent), Hold(terminal.hold))
            and not is_leaving(assignment.state)
            and not assignment.unproven
        ),
        runtime=assignment.runtime,
        login=account.login,
        server=account.server,
        server_address=placement.server.simulated_address,
        credentials=sealed,
        credentials_version=version,
        guard=Guard(bots={bot.id: _rule(bot) for bot in bots}),
        bots=[_bot(bot, codes.get(bot.strategy)) for bot in bots],
        requests=[TerminalRequest(request_id=each.id, kind=RequestKind(each.kind).value) for each in requests],
        lease_policy=LeasePolicy(terminal.lease_policy).value,
        access_epoch=terminal.access_epoch,
        template=None if placement.server.simulated_address else templates.get(account.server),
    )


def _credentials(
    session: Session, vault: Vault, node: Node, placement: Placement, opened: OpenCredentials | SealBrokenError
) -> tuple[str, int]:
    """Sealed for the node, and their version. Empty when they cannot be opened: what runs with them runs on, and what
    has to be started says that they must be entered again. Left out, the node would end the terminal for good.
    """
    assignment, terminal, account = placement.assignment, placement.terminal, placement.account
    if isinstance(opened, SealBrokenError):
        _log.error("credentials_cannot_be_opened", account=account.id, error=str(opened))
        return "", vault.version(session, account.tenant_id, account.id)
    context = SealContext(account.tenant_id, account.id, terminal.id, assignment.epoch)
    credentials = Credentials(login=account.login, password=opened.password, server=account.server)
    return seal(credentials, node.sealing_key, context), opened.version


def _codes(session: Session, bots: Sequence[Bot]) -> dict[str, CodeRef]:
    """By what bots call their strategy, for those that are not built in."""
    versions = strategies_repository.versions_by_id(session, {bot.strategy for bot in bots})
    return {
        version.id: CodeRef(
            sha256=version.sha256,
            size=version.size,
            kind="script" if version.kind == "script" else "strategy",
            entry=version.entry,
        )
        for version in versions.values()
    }


def _rule(bot: Bot) -> BotRule:
    return BotRule(magic=bot.magic, opens=may_open(BotIntent(bot.intent)), sends=not bot.paper)


def _bot(bot: Bot, code: CodeRef | None) -> DesiredBot:
    return DesiredBot(
        bot_id=bot.id,
        revision=bot.revision,
        strategy=bot.strategy,
        symbol=bot.symbol,
        timeframe=bot.timeframe,
        volume=bot.volume,
        magic=bot.magic,
        parameters=bot.parameters,
        code=code,
        paper=bot.paper,
    )
