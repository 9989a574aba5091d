"""Try a login at a broker's server once, without keeping it: start, show and finish."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.accounts import repository
from control_plane.accounts.model import Account, ConnectionTest
from control_plane.accounts.schemas import BrokerLogin, ConnectionTestOut
from control_plane.accounts.service import Accounts
from control_plane.accounts.trial import LONGEST_TEST, Judgement, Outcome, TrialFacts, judge_trial
from control_plane.brokers.service import require_server
from control_plane.clock import Clock
from control_plane.db.tenancy import as_system
from control_plane.errors import ConflictError, NotFoundError, TooManyRequestsError
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.state import Actor
from control_plane.vault.trials import LoginTrials
from node_agent.protocol.messages import Phase, Reason

_MOST_AT_ONCE = 3
_LABEL = "Test of a connection"


class ConnectionTests:
    def __init__(self, accounts: Accounts, trials: LoginTrials, clock: Clock) -> None:
        self._accounts = accounts
        self._trials = trials
        self._clock = clock

    def start(self, session: Session, owner: Owner, wish: BrokerLogin) -> str:
        """Have a terminal log in once. Returns the test's id.

        Raises InvalidInputError for an unknown server; ConflictError for a login that the user has connected or that
        runs in another terminal of the farm; TooManyRequestsError for a fourth test at once, and when another wrong
        password could make the broker lock the account or the farm out.
        """
        server = require_server(session, wish.server)
        if repository.with_login(session, owner, server.name, wish.login) is not None:
            raise ConflictError(
                f"You have already connected login {wish.login} at {server.name}; its own page says how it is.",
                code="account_already_connected",
            )
        if repository.count_open_tests(session, owner) >= _MOST_AT_ONCE:
            raise TooManyRequestsError("Please wait for your other tests to end.", retryable=True, retry_after=30)
        now = self._clock.now()
        account = Account(
            id=new_id("acc"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            label=_LABEL,
            login=wish.login,
            server=server.name,
            created_at=now,
            deleted_at=now,
        )
        with as_system(session):  # another tenant's user may have connected the same login
            if terminals_repository.runs_elsewhere(session, account):
                raise ConflictError("This MT5 account runs in a terminal already.", code="account_runs_elsewhere")
        self._trials.check_new_password(session, account)
        self._accounts.add(session, account, wish.password.get_secret_value(), "test_connection")
        test = ConnectionTest(
            id=new_id("tst"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            account_id=account.id,
            outcome=Outcome.PENDING,
            words="",
            started_at=now,
            deadline=now + LONGEST_TEST,
        )
        session.add(test)
        session.flush()
        return test.id

    def show(self, session: Session, owner: Owner, test_id: str) -> ConnectionTestOut:
        """Raises NotFoundError for a test that is not this user's."""
        test = repository.owned_test(session, owner, test_id)
        if test is None:
            raise NotFoundError("There is no such test.", code="connection_test_not_found")
        judged = Judgement(Outcome(test.outcome), test.words)
        if test.finished_at is None:
            judged = self._judge(session, test, self._clock.now())
        account = repository.of_tenant(session, owner.tenant_id, test.account_id)
        assert account is not None, "the database keeps the account of a test"
        return ConnectionTestOut(
            id=test.id,
            server=account.server,
            login=account.login,
            outcome=judged.outcome,
            words=judged.words,
            started_at=test.started_at,
            deadline=test.deadline,
            finished_at=test.finished_at,
        )

    def decided(self, session: Session) -> list[str]:
        """Ids of the tests of all tenants that have come to something which is not written down yet."""
        now = self._clock.now()
        tests = repository.open_tests(session)
        return [each.id for each in tests if self._judge(session, each, now).outcome is not Outcome.PENDING]

    def finish(self, session: Session, test_id: str) -> None:
        """Write down what a test has come to; have its terminal ended and its password erased. Once more is nothing."""
        test = repository.held_test(session, test_id)
        if test is None or test.finished_at is not None:
            return
        now = self._clock.now()
        judged = self._judge(session, test, now)
        if judged.outcome is Outcome.PENDING:
            return
        test.outcome, test.words, test.finished_at = judged.outcome, judged.words, now
        account = repository.of_tenant(session, test.tenant_id, test.account_id)
        assert account is not None, "the database keeps the account of a test"
        if judged.outcome is Outcome.REFUSED:
            self._trials.give_up(session, account)
        self._accounts.end(session, account, Actor.FARM)

    def _judge(self, session: Session, test: ConnectionTest, now: datetime) -> Judgement:
        found = repository.test_view(session, test)
        seen, assignment = found.observation, found.assignment
        current = seen if assignment and seen and seen.epoch == assignment.epoch else None
        facts = TrialFacts(
            server=found.account.server,
            placed=assignment is not None,
            note=found.terminal.placement_note,
            phase=Phase(current.phase) if current else None,
            reason=Reason(current.reason) if current and current.reason else None,
            answered=current is not None and current.last_answer_at is not None,
        )
        return judge_trial(facts, now, test.deadline)
