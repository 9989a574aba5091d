"""Copying needs accounts that hedge, where each position stays apart: on others a second one merges with the first."""

from __future__ import annotations

from operator import methodcaller

from control_plane.access.port import Target, TerminalDoor
from control_plane.access.service import answering_target, ask, not_ready
from control_plane.accounts.model import Account
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import ConflictError, FarmError
from control_plane.identity.owner import Owner
from mt5_bridge.contract import CONSTANTS

_HEDGING = CONSTANTS["ACCOUNT_MARGIN_MODE_RETAIL_HEDGING"]


def nets(door: TerminalDoor, target: Target) -> bool:
    """Raises ConflictError while the terminal does not say."""
    account = ask(door, target, methodcaller("account_info"))
    if account is None:
        raise not_ready("The terminal does not know its account yet.")
    return bool(account.margin_mode != _HEDGING)


def netting_reason(who: str) -> str:
    """`who` ends "the account"."""
    return (
        f"The account {who} nets its positions, one for each symbol. Copying needs accounts that hedge, so that each "
        "position of the leader stays apart; ask the broker for a hedging account."
    )


def refuse_netting(database: Database, door: TerminalDoor, clock: Clock, leader: Account, follower: Account) -> None:
    """Raises ConflictError. A terminal that does not answer now is asked again before anything is copied."""
    for account, who in ((leader, "that leads"), (follower, "that follows")):
        owner = Owner(account.tenant_id, account.user_id)
        try:
            with database.read(account.tenant_id) as session:
                target = answering_target(session, owner, account.id, clock)
            netting = nets(door, target)
        except FarmError as error:
            if not error.retryable:
                raise
            netting = False
        if netting:
            raise ConflictError(netting_reason(who), code="netting_account")
