"""The trade desk after a restart, and how long it waits before it calls an order not executed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.executor import Executor
from mt5_bridge.guard import Guard
from mt5_bridge.journal import Journal, State
from mt5_bridge.refusals import RefusedError
from mt5_bridge.terminal_link import Account, TerminalLink
from mt5_bridge.trading import Mandate, Sender, TradeDesk
from tests.bridge_doubles import LOGIN, SERVER, StubBackend

REQUEST = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}
SENDER = Sender("user:usr_1", 7)


class Desk:
    """A desk with its terminal, on a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        self.backend = StubBackend()
        self.journal = Journal(path, self.clock)
        self.executor = Executor(on_wedged=lambda label: None)
        self.executor.start()
        account = Account(LOGIN, SERVER)
        self.link = TerminalLink(self.backend, self.executor, account, self.clock)
        mandate = Mandate(7, Guard())
        self.lease_over: list[bool] = []
        """Answers to come; afterwards the lease holds."""
        self.desk = TradeDesk(self.journal, self.executor, self.link, account, mandate, self.clock, self.lease)
        self.link.check()

    def clock(self) -> float:
        return self.now

    def lease(self) -> bool:
        return self.lease_over.pop(0) if self.lease_over else False

    def look_after(self, seconds: float) -> State:
        """Let time pass, look once, and give the state of order `a`."""
        self.now += seconds
        self.link.check()
        self.executor.run("settle", 10, self.desk.settle_open)
        return self.state()

    def state(self) -> State:
        entry = self.journal.get("a")
        assert entry is not None
        return entry.state


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "journal")
    yield made
    made.executor.stop(5)
    made.journal.close()


def left_behind(desk: Desk, *, sent: bool) -> None:
    """What a worker that was killed leaves in the journal."""
    desk.journal.add("a", "user:usr_1", 7, REQUEST)
    if sent:
        desk.journal.sent("a", desk.backend.broker_time, 100)


def test_what_was_only_written_down_when_the_worker_died_was_never_sent(desk: Desk) -> None:
    left_behind(desk, sent=False)
    desk.desk.forget_unsent()
    assert desk.state() is State.NOT_EXECUTED
    with pytest.raises(RefusedError):
        desk.desk.send(SENDER, REQUEST, "a")
    assert not desk.backend.sent


def test_an_order_that_was_given_up_before_it_came_is_not_sent_when_it_comes(desk: Desk) -> None:
    assert desk.journal.give_up("a", "service:farm", 7).state is State.NOT_EXECUTED
    with pytest.raises(RefusedError) as refusal:
        desk.desk.send(SENDER, REQUEST, "a")
    assert refusal.value.code == "not_executed"
    assert not desk.backend.sent


def test_giving_up_an_order_that_has_come_tells_what_became_of_it(desk: Desk) -> None:
    desk.desk.send(SENDER, REQUEST, "a")
    assert desk.journal.give_up("a", "service:farm", 7).state is State.DONE


def test_what_was_sent_when_the_worker_died_is_unknown_until_the_books_tell(desk: Desk) -> None:
    left_behind(desk, sent=True)
    desk.desk.forget_unsent()
    desk.backend.connected = False
    assert desk.look_after(60) is State.UNKNOWN
    desk.backend.sent.append(REQUEST)
    desk.backend.fill(REQUEST)
    desk.backend.connected = True
    assert desk.look_after(0) is State.DONE


def test_not_found_needs_a_second_look_five_seconds_after_the_terminal_is_back(desk: Desk) -> None:
    left_behind(desk, sent=True)
    desk.backend.connected = False
    assert desk.look_after(600) is State.UNKNOWN
    desk.backend.connected = True
    assert desk.look_after(1) is State.UNKNOWN
    assert desk.look_after(3) is State.UNKNOWN
    assert desk.look_after(2) is State.NOT_EXECUTED


def test_a_terminal_that_has_not_answered_may_still_send_the_order(desk: Desk) -> None:
    left_behind(desk, sent=True)
    assert desk.look_after(20) is State.UNKNOWN
    assert desk.look_after(8) is State.UNKNOWN
    desk.backend.sent.append(REQUEST)
    desk.backend.fill(REQUEST)
    assert desk.look_after(5) is State.DONE


def test_it_counts_from_the_send_and_not_from_when_the_order_was_written_down(desk: Desk) -> None:
    desk.journal.add("a", "user:usr_1", 7, REQUEST)
    desk.now += 28  # the terminal was slow to say which account it has
    desk.journal.sent("a", desk.backend.broker_time, 100)
    assert desk.look_after(6) is State.UNKNOWN
    assert desk.look_after(6) is State.UNKNOWN
    assert desk.look_after(18) is State.NOT_EXECUTED


def test_a_terminal_that_had_no_connection_will_not_send_the_order_any_more(desk: Desk) -> None:
    desk.backend.on_send = lambda request: desk.backend.answer(10031)
    desk.desk.send(SENDER, REQUEST, "a")
    assert desk.look_after(6) is State.UNKNOWN
    assert desk.look_after(1) is State.NOT_EXECUTED


def test_an_order_is_found_although_the_brokers_clock_went_back(desk: Desk) -> None:
    desk.desk.send(SENDER, REQUEST, "before")
    desk.backend.broker_time -= 3600
    desk.backend.on_send = desk.backend.fill_and_lose_the_answer
    desk.desk.send(SENDER, REQUEST, "a")
    desk.backend.reachable = True
    assert desk.look_after(0) is State.DONE


def test_one_look_is_not_enough_however_late_it_comes(desk: Desk) -> None:
    left_behind(desk, sent=True)
    assert desk.look_after(600) is State.UNKNOWN
    assert desk.look_after(1) is State.NOT_EXECUTED


def test_looks_before_a_break_do_not_count(desk: Desk) -> None:
    left_behind(desk, sent=True)
    desk.look_after(1)
    desk.backend.connected = False
    desk.look_after(1)
    desk.backend.connected = True
    desk.link.check()
    assert desk.look_after(40) is State.UNKNOWN
    assert desk.look_after(1) is State.NOT_EXECUTED


@pytest.mark.parametrize(
    ("retcode", "state"),
    [
        (10009, State.DONE),
        (10008, State.DONE),
        (10010, State.DONE),
        (10013, State.REFUSED),
        (10018, State.REFUSED),
        (10011, State.UNKNOWN),
        (10012, State.UNKNOWN),
        (10031, State.UNKNOWN),
    ],
)
def test_a_return_code_says_what_is_known(desk: Desk, retcode: int, state: State) -> None:
    desk.backend.on_send = lambda request: desk.backend.answer(retcode)
    result, error = desk.desk.send(SENDER, REQUEST, "a")
    assert (result.retcode, error, desk.state()) == (retcode, (1, "Success"), state)


def test_while_one_outcome_is_unknown_other_orders_go_on(desk: Desk) -> None:
    left_behind(desk, sent=True)
    desk.look_after(0)
    assert desk.desk.send(SENDER, REQUEST, "b")[0].retcode == 10009
    assert desk.look_after(0) is State.UNKNOWN  # the order of b is not taken for that of a


def test_an_older_assignment_does_not_trade(desk: Desk) -> None:
    desk.desk.configure(None, 8)
    with pytest.raises(RefusedError, match="assigned anew"):
        desk.desk.send(SENDER, REQUEST, "a")
    assert (desk.state(), desk.backend.sent) == (State.REFUSED, [])


def test_without_a_broker_nothing_is_sent_and_that_is_certain(desk: Desk) -> None:
    desk.backend.connected = False
    desk.link.check()
    result, _ = desk.desk.send(SENDER, REQUEST, "a")
    assert (result.retcode, desk.state(), desk.backend.sent) == (10031, State.REFUSED, [])
    assert desk.desk.send(SENDER, REQUEST, "a")[0] == result


def test_a_broker_that_is_back_before_it_was_noticed_gets_the_order(desk: Desk) -> None:
    desk.backend.connected = False
    desk.link.check()
    desk.backend.connected = True
    assert desk.desk.send(SENDER, REQUEST, "a")[0].retcode == 10009


def test_many_open_outcomes_are_settled_in_portions(desk: Desk) -> None:
    for number in range(120):
        desk.journal.add(f"x{number}", "user:usr_1", 7, REQUEST)
        desk.journal.sent(f"x{number}", 0, 0)
    left_behind(desk, sent=True)
    looks = 0
    while desk.look_after(6) is State.UNKNOWN:
        looks += 1
    assert 4 <= looks <= 8
    assert desk.journal.unsettled() == ()


def test_an_order_that_never_got_beyond_the_first_note_is_closed_without_a_restart(desk: Desk) -> None:
    desk.journal.add("a", SENDER.principal, SENDER.epoch, REQUEST)
    assert desk.look_after(31) is State.JOURNALED
    assert desk.look_after(31) is State.NOT_EXECUTED


def test_an_answer_that_says_nothing_starts_the_wait_anew(desk: Desk) -> None:
    def time_out(_: object) -> object:
        desk.now += 29
        return desk.backend.answer(10012)

    desk.backend.on_send = time_out
    desk.desk.send(SENDER, REQUEST, "a")
    assert desk.look_after(10) is State.UNKNOWN
    assert desk.look_after(10) is State.UNKNOWN
    assert desk.look_after(11) is State.NOT_EXECUTED


class TestLease:
    @pytest.mark.parametrize("answers", [[True], [False, True]], ids=["before", "between the last checks and the send"])
    def test_once_it_is_over_nothing_is_sent(self, desk: Desk, answers: list[bool]) -> None:
        desk.lease_over = answers
        with pytest.raises(RefusedError) as refusal:
            desk.desk.send(SENDER, REQUEST, "a")
        assert refusal.value.code == "guard_lease"
        assert desk.state() is State.REFUSED
        assert desk.backend.sent == []


@pytest.mark.parametrize("raises", [False, True])
def test_an_order_notices_that_the_terminal_is_gone(desk: Desk, raises: bool) -> None:
    if raises:

        def fail(*_: object) -> None:
            desk.backend.error = (-10004, "No IPC connection")
            raise SystemError("gone")

        vars(desk.backend)["_account_info"] = fail
    else:
        desk.backend.reachable = False
    with pytest.raises(SystemError if raises else RefusedError):
        desk.desk.send(SENDER, REQUEST, "a")
    assert not desk.link.linked
    assert desk.link.error[0] == -10004
    assert desk.backend.sent == []
