"""Each password is tried once; and a server that has refused several of the farm's logins is left alone for a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.accounts.repository import AccountColumns
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.tenancy import as_system
from control_plane.errors import TooManyRequestsError
from control_plane.vault import repository
from control_plane.vault.model import LoginRefusal
from control_plane.vault.state import REFUSAL_WINDOW, Verdict, waits_until
from node_agent.protocol.messages import ObservedTerminal, Phase, Reason

_REFUSED = "The broker refused the login or password. Correct the password to try again."


@dataclass(frozen=True)
class Trial:
    """A terminal as it was seen, beside what is known of its password."""

    account: AccountColumns
    known: tuple[int, Verdict] | None
    """The version of the newest one, and what the broker made of it; None for an account without a password."""
    seen: ObservedTerminal


class LoginTrials:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._of_server = settings.refused_logins_of_server
        self._of_account = settings.refused_logins_of_account
        self._clock = clock

    def observe(self, session: Session, trials: Iterable[Trial]) -> None:
        """Keep what the broker made of passwords, as nodes report it that know the newest ones."""
        accepted: list[tuple[str, int]] = []
        for each in trials:
            found = _verdict(each.seen)
            if each.known is None or found in (Verdict.UNTRIED, each.known[1]):
                continue
            if found is Verdict.REFUSED:
                self._keep_refusal(session, each.account, each.known[0])
            else:
                accepted.append((each.account.id, each.known[0]))
        if accepted:
            repository.set_verdict(session, accepted, Verdict.ACCEPTED)

    def give_up(self, session: Session, account: Account) -> None:
        """The broker has refused the newest password once, and nobody lets it be tried a second time."""
        known = repository.verdict(session, account.tenant_id, account.id)
        if known is not None and known[1] is not Verdict.REFUSED:
            self._keep_refusal(session, account, known[0])

    def _keep_refusal(self, session: Session, account: Account | AccountColumns, version: int) -> None:
        repository.set_verdict(session, [(account.id, version)], Verdict.REFUSED)
        refusal = LoginRefusal(
            account_id=account.id,
            version=version,
            tenant_id=account.tenant_id,
            server=account.server,
            at=self._clock.now(),
        )
        session.merge(refusal)

    def objections(self, session: Session, accounts: Sequence[Account]) -> dict[str, str]:
        """Why terminals of these accounts must not log in anywhere now, in words for their owners, by account id."""
        verdicts = repository.verdicts(session, [each.id for each in accounts])
        known = {account_id: verdict for account_id, (_, verdict) in verdicts.items()}
        untried = {each.server for each in accounts if known.get(each.id) is Verdict.UNTRIED}
        now = self._clock.now()
        closed = {server: self._server_waits_until(session, server, now) for server in untried}
        refused = repository.refusals_by_login(session, untried, now - REFUSAL_WINDOW)
        found = {account_id: _REFUSED for account_id, verdict in known.items() if verdict is Verdict.REFUSED}
        for account in accounts:
            if known.get(account.id) is not Verdict.UNTRIED:
                continue
            login = refused.get((account.tenant_id, account.server, account.login), [])
            if (until := waits_until(login, self._of_account, now)) is not None:
                found[account.id] = (
                    f"Waiting: {account.server} has refused several passwords for this login and might lock the "
                    f"account; this one is tried at {until:%H:%M} UTC."
                )
            elif (until := closed[account.server]) is not None:
                found[account.id] = (
                    f"Waiting: {account.server} has refused several logins of this farm lately and would lock us out; "
                    f"this one is tried at {until:%H:%M} UTC."
                )
        return found

    def check_new_password(self, session: Session, account: Account) -> None:
        """Raises TooManyRequestsError when another wrong password could make the broker lock the account."""
        now = self._clock.now()
        until = self._login_waits_until(session, account, now)
        if until is None:
            until = self._server_waits_until(session, account.server, now)
        if until is not None:
            raise TooManyRequestsError(
                f"{account.server} has refused too many logins and might lock the account. "
                f"Try again at {until:%H:%M} UTC.",
                code="lock_out_budget",
                retryable=True,
                retry_after=int((until - now).total_seconds()) + 1,
            )

    def _login_waits_until(self, session: Session, account: Account, now: datetime) -> datetime | None:
        refusals = repository.refusals_of_login(session, account, now - REFUSAL_WINDOW)
        return waits_until(refusals, self._of_account, now)

    def _server_waits_until(self, session: Session, server: str, now: datetime) -> datetime | None:
        with as_system(session):  # a server knows the farm's address, not which tenant a login belongs to
            refusals = repository.refusals_at_server(session, server, now - REFUSAL_WINDOW)
        return waits_until(refusals, self._of_server, now)


def _verdict(seen: ObservedTerminal) -> Verdict:
    if seen.reason is Reason.BAD_CREDENTIALS and seen.phase is not Phase.LOGGING_IN:
        return Verdict.REFUSED
    return Verdict.ACCEPTED if seen.phase is Phase.READY else Verdict.UNTRIED
