"""What is told and when, as pure rules."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.alerts.rules import (
    FOLD,
    AccountFacts,
    Changes,
    Condition,
    Threshold,
    Told,
    Wishes,
    changes,
    conditions,
    dispatches,
    end_of_quiet,
    newest_report,
    next_digest,
    next_report,
)
from control_plane.alerts.state import URGENT, AlertEvent, Channel, Digest, Mode, ThresholdKind

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def facts(**known: object) -> AccountFacts:
    return AccountFacts("acc_1", "Main", True, **known)  # type: ignore[arg-type]


def events(found: list[Condition]) -> set[AlertEvent]:
    return {each.event for each in found}


def test_a_terminal_is_stale_only_after_the_time_that_the_user_has_set() -> None:
    wishes = Wishes(stale_after=timedelta(minutes=5))
    silent = facts(silent_since=NOON)
    assert not conditions(silent, wishes, (), NOON + timedelta(seconds=299))
    assert events(conditions(silent, wishes, (), NOON + timedelta(minutes=5))) == {AlertEvent.TERMINAL_STALE}


def test_a_terminal_that_should_not_run_is_never_stale() -> None:
    stopped = AccountFacts("acc_1", "Main", False, silent_since=NOON, login_refused=True)
    assert not conditions(stopped, Wishes(), (), NOON + timedelta(days=1))


def test_a_refused_login_is_told_instead_of_the_silence_that_follows() -> None:
    refused = facts(silent_since=NOON, login_refused=True)
    assert events(conditions(refused, Wishes(), (), NOON + timedelta(days=1))) == {AlertEvent.LOGIN_REFUSED}


@pytest.mark.parametrize(
    ("equity", "known", "told"), [("80", False, True), ("80.01", False, False), ("80.01", True, True)]
)
def test_a_drawdown_that_was_told_ends_only_when_it_has_mended_clearly(equity: str, known: bool, told: bool) -> None:
    before = {(AlertEvent.DRAWDOWN, "acc_1")} if known else set()
    found = conditions(facts(equity=Decimal(equity), peak=Decimal(100)), Wishes(), before, NOON)
    assert (AlertEvent.DRAWDOWN in events(found)) == told


def test_no_margin_level_is_told_while_no_margin_is_used() -> None:
    assert not conditions(facts(equity=Decimal(100), peak=Decimal(100)), Wishes(), (), NOON)
    used = facts(equity=Decimal(100), peak=Decimal(100), margin=Decimal(90))
    assert events(conditions(used, Wishes(), (), NOON)) == {AlertEvent.MARGIN_LEVEL}


@pytest.mark.parametrize(
    ("kind", "price", "holds"),
    [
        (ThresholdKind.PRICE_ABOVE, "1.2", True),
        (ThresholdKind.PRICE_ABOVE, "1.19999", False),
        (ThresholdKind.PRICE_BELOW, "1.2", True),
        (ThresholdKind.PRICE_BELOW, "1.20001", False),
    ],
)
def test_a_limit_of_a_price_holds_at_and_beyond_it(kind: ThresholdKind, price: str, holds: bool) -> None:
    limit = Threshold("thr_1", kind, "EURUSD", Decimal("1.2"))
    found = conditions(facts(thresholds=(limit,), prices={"EURUSD": Decimal(price)}), Wishes(), (), NOON)
    assert bool(found) == holds


def test_without_a_price_nothing_begins_and_nothing_ends() -> None:
    limit = Threshold("thr_1", ThresholdKind.PRICE_ABOVE, "EURUSD", Decimal("1.2"))
    assert not conditions(facts(thresholds=(limit,)), Wishes(), (), NOON)
    assert conditions(facts(thresholds=(limit,)), Wishes(), {(AlertEvent.THRESHOLD, "thr_1")}, NOON)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 1200)), min_size=1, max_size=40))
def test_what_is_told_is_what_holds_and_a_flapping_fact_is_told_at_most_once_in_ten_minutes(
    story: list[tuple[bool, int]],
) -> None:
    now, notices, raised_at = NOON, list[Told](), list[datetime]()
    fact = Condition(AlertEvent.DRAWDOWN, "acc_1", "acc_1", "t", "t")
    for holds, seconds in story:
        now += timedelta(seconds=seconds)
        found = changes(notices[-1:], [fact] if holds else [], now)
        if found.raised:
            notices.append(Told(fact.event, fact.subject_id, None))
            raised_at.append(now)
        elif found.reopened:
            notices[-1] = Told(fact.event, fact.subject_id, None)
        elif found.resolved:
            notices[-1] = Told(fact.event, fact.subject_id, now)
        assert (bool(notices) and notices[-1].resolved_at is None) == holds
        again = changes(notices[-1:], [fact] if holds else [], now)
        assert again == Changes((), (), ()), "seen twice, told once"
    assert all(later - earlier > FOLD for earlier, later in itertools.pairwise(raised_at))


MINUTES = st.integers(0, 1439)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
CHANGES = [datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 3, 8, 7), datetime(2026, 11, 1, 6)]
"""When Berlin and New York put their clocks forward and back, in UTC."""
MOMENTS = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.builds(lambda at, minutes: at + timedelta(minutes=minutes), st.sampled_from(CHANGES), st.integers(-1600, 200)),
).map(lambda at: at.replace(second=0, microsecond=0, tzinfo=UTC))


def clock_of(zone: str, at: datetime) -> int:
    """What a clock on the wall shows, in minutes after midnight."""
    local = at.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


def is_quiet(begin: int, end: int, minute: int) -> bool:
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


@given(MINUTES, MINUTES, ZONES, MOMENTS)
def test_what_waits_for_the_end_of_quiet_hours_goes_with_the_first_minute_that_is_not_quiet(
    begin: int, end: int, zone: str, now: datetime
) -> None:
    wishes = Wishes(time_zone=zone, quiet_from=begin, quiet_until=end)
    due = end_of_quiet(wishes, now)
    first = now
    while is_quiet(begin, end, clock_of(zone, first)):
        first += timedelta(minutes=1)
    assert not is_quiet(begin, end, clock_of(zone, due))
    if clock_of(zone, due) == end or due == now:
        assert due == first
    else:  # clocks are put forward over the end
        assert first < due <= first + timedelta(hours=1)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-28T21:59Z", "2026-03-28T21:59Z"),
        ("2026-03-28T22:00Z", "2026-03-29T05:00Z"),  # a night of 8 hours: clocks are put forward
        ("2026-10-24T21:00Z", "2026-10-25T06:00Z"),  # a night of 10 hours
        ("2026-10-25T06:00Z", "2026-10-25T06:00Z"),
    ],
)
def test_quiet_hours_are_those_of_the_clock_on_the_users_wall(now: str, due: str) -> None:
    wishes = Wishes(time_zone="Europe/Berlin", quiet_from=23 * 60, quiet_until=7 * 60)
    assert end_of_quiet(wishes, datetime.fromisoformat(now)) == datetime.fromisoformat(due)


def test_an_hour_that_is_lived_twice_is_quiet_twice() -> None:
    wishes = Wishes(time_zone="Europe/Berlin", quiet_from=120, quiet_until=150)
    first, second = datetime(2026, 10, 25, 0, 15, tzinfo=UTC), datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert end_of_quiet(wishes, first) == first + timedelta(minutes=15)
    assert end_of_quiet(wishes, second) == second + timedelta(minutes=15)


@given(MINUTES, ZONES, MOMENTS)
def test_reports_follow_each_other_without_a_gap_and_one_for_each_day(minute: int, zone: str, now: datetime) -> None:
    wishes = Wishes(time_zone=zone, report_minute=minute)
    newest, following = newest_report(wishes, now), next_report(wishes, now)
    assert newest.due_at <= now < following
    after = newest_report(wishes, following)
    assert (after.day, after.since, after.due_at) == (newest.day + timedelta(days=1), newest.due_at, following)
    assert newest_report(wishes, following - timedelta(minutes=1)) == newest
    assert timedelta(hours=22) < following - newest.due_at < timedelta(hours=26)


@given(MINUTES, MINUTES, MINUTES, ZONES, MOMENTS, st.sampled_from(Digest))
def test_a_digest_comes_within_two_days_and_never_in_quiet_hours(
    begin: int, end: int, report: int, zone: str, now: datetime, digest: Digest
) -> None:
    wishes = Wishes(time_zone=zone, quiet_from=begin, quiet_until=end, report_minute=report, digest=digest)
    due = next_digest(wishes, now)
    assert now < due <= now + timedelta(hours=51)
    assert not is_quiet(begin, end, clock_of(zone, due))


OUTSIDE = (Channel.EMAIL, Channel.WEBHOOK, Channel.TELEGRAM)


@pytest.mark.parametrize("event", AlertEvent)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("channel", OUTSIDE)
@pytest.mark.parametrize("hour", [12, 23])
def test_each_event_goes_to_each_channel_as_loudly_as_it_is_set(
    event: AlertEvent, mode: Mode, channel: Channel, hour: int
) -> None:
    now, morning = NOON.replace(hour=hour), NOON.replace(day=3, hour=7)
    others_off: dict[str, str] = {each: Mode.OFF for each in OUTSIDE if each is not channel}
    wishes = Wishes({event: {**others_off, channel: mode}}, quiet_from=22 * 60, quiet_until=7 * 60)
    found = dispatches(event, wishes, now)
    if mode is Mode.OFF:
        assert not found
        return
    (one,) = found
    assert (one.channel, one.silent) == (channel, mode is Mode.SILENT)
    assert one.digest == (channel is Channel.EMAIL and mode is Mode.SILENT)
    waits = hour == 23 and event not in URGENT and channel is not Channel.WEBHOOK
    assert one.due_at == (morning if one.digest or waits else now)


def test_urgent_things_are_told_in_quiet_hours_and_others_are_not() -> None:
    wishes = Wishes(quiet_from=22 * 60, quiet_until=7 * 60)
    night = NOON.replace(hour=23)
    for event in AlertEvent:
        for each in dispatches(event, wishes, night):
            at_once = event in URGENT or each.channel is Channel.WEBHOOK
            if not each.digest:
                assert each.due_at == (night if at_once else NOON.replace(day=3, hour=7))


def test_what_is_off_goes_nowhere_and_what_is_silent_by_mail_waits_for_the_digest() -> None:
    off = Wishes(modes={AlertEvent.DRAWDOWN: dict.fromkeys(Channel, Mode.OFF)})
    assert not dispatches(AlertEvent.DRAWDOWN, off, NOON)
    silent = Wishes(modes={AlertEvent.DRAWDOWN: dict.fromkeys(Channel, Mode.SILENT)}, digest=Digest.HOURLY)
    found = {each.channel: each for each in dispatches(AlertEvent.DRAWDOWN, silent, NOON)}
    assert found[Channel.EMAIL].digest
    assert found[Channel.EMAIL].due_at == NOON.replace(hour=13)
    assert found[Channel.WEBHOOK].silent
    assert found[Channel.WEBHOOK].due_at == NOON


def test_reports_and_digests_keep_to_the_users_own_morning() -> None:
    wishes = Wishes(time_zone="Asia/Kolkata", report_minute=7 * 60)
    assert next_report(wishes, NOON) == datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
    assert next_digest(wishes, NOON) == next_report(wishes, NOON)
    before, after = datetime(2026, 3, 3, 1, 29, tzinfo=UTC), datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
    assert newest_report(wishes, before).day == date(2026, 3, 2)
    assert newest_report(wishes, after).day == date(2026, 3, 3)
