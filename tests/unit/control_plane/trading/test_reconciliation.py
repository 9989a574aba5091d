"""The comparison of two books: whatever is planted is found, each once, and nothing else."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from control_plane.db.types import money
from control_plane.trading.broker_book import DEALS
from control_plane.trading.ledger import DealFacts, balance_of
from control_plane.trading.reconciliation import Difference, compare, compare_balance, differing_periods, judge
from control_plane.trading.state import DifferenceKind, DifferenceState, Subject, difference_may_become
from mt5_bridge.history_digest import PERIOD_SECONDS, deal_msc, deal_text, digests, exact_text, period_of

MONEY = st.decimals(-1000, 1000, places=2)


def deal(ticket: int, seconds: int, amount: Decimal = Decimal(0), kind: int = 0) -> DealFacts:
    nothing = Decimal(0)
    return DealFacts(
        ticket, ticket, seconds * 1000, kind, 0, 0, 1, 0, 0.1, 1.1, nothing, nothing, amount, nothing, "EURUSD"
    )


@st.composite
def books(draw: st.DrawFn) -> list[DealFacts]:
    tickets = draw(st.lists(st.integers(1, 10**12), unique=True, max_size=30))
    return [deal(each, draw(st.integers(0, 20 * PERIOD_SECONDS)), draw(MONEY)) for each in tickets]


@st.composite
def planted(draw: st.DrawFn) -> tuple[list[DealFacts], list[DealFacts], set[tuple[DifferenceKind, int]]]:
    """The log, the broker's answer, and what was done to it."""
    here: list[DealFacts] = []
    there: list[DealFacts] = []
    done = set()
    for each in draw(books()):
        match draw(st.sampled_from(["same", "same", "missing_here", "missing_there", "edited", "doubled", "moved"])):
            case "missing_here":
                there.append(each)
                done.add((DifferenceKind.MISSING_HERE, each.ticket))
            case "missing_there":
                here.append(each)
                done.add((DifferenceKind.MISSING_THERE, each.ticket))
            case "edited":
                here.append(each)
                there.append(each._replace(swap=each.swap + draw(st.sampled_from([Decimal("0.01"), Decimal(-7)]))))
                done.add((DifferenceKind.EDITED, each.ticket))
            case "moved":
                here.append(each)
                there.append(each._replace(time_msc=each.time_msc + draw(st.sampled_from([1, 40 * 86_400_000]))))
                done.add((DifferenceKind.EDITED, each.ticket))
            case "doubled":
                here.append(each)
                there += [each] * draw(st.integers(2, 4))
                done.add((DifferenceKind.DOUBLED, each.ticket))
            case _:
                here.append(each)
                there.append(each)
    return here, list(draw(st.permutations(there))), done


@given(planted())
def test_what_was_planted_is_found_once_and_nothing_else(
    case: tuple[list[DealFacts], list[DealFacts], set[tuple[DifferenceKind, int]]],
) -> None:
    here, there, done = case
    found = compare(DEALS, here, there)
    assert {(each.kind, each.ticket) for each in found} == done
    assert len(found) == len(done) == len({each.digest for each in found})


@given(planted())
def test_periods_that_are_alike_need_not_be_read(
    case: tuple[list[DealFacts], list[DealFacts], set[tuple[DifferenceKind, int]]],
) -> None:
    here, there, _ = case
    periods = differing_periods(digests(here, deal_text, deal_msc), digests(there, deal_text, deal_msc))
    within = [[row for row in rows if period_of(row.time_msc // 1000) in periods] for rows in (here, there)]
    assert compare(DEALS, *within) == compare(DEALS, here, there)
    assert bool(periods) == bool(compare(DEALS, here, there))


@given(books(), st.randoms())
def test_a_digest_does_not_depend_on_the_order_of_its_rows(rows: list[DealFacts], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert digests(rows, deal_text, deal_msc) == digests(shuffled, deal_text, deal_msc)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_amount_has_a_text(amount: float) -> None:
    assert exact_text(amount)


@given(st.integers(-(10**10), 10**10), st.sampled_from([0, 1, 2, 3, 5, 8]))
def test_an_amount_has_the_same_text_on_its_way_and_in_the_log(number: int, places: int) -> None:
    amount = number / 10**places
    assert exact_text(amount) == exact_text(money(amount))


@given(books(), st.integers(-500, 500))
def test_a_balance_is_off_by_a_cent_or_more_or_not_at_all(rows: list[DealFacts], cents: int) -> None:
    off = Decimal(cents) / 100
    found = compare_balance(balance_of(rows) + off, rows)
    assert [each.kind for each in found] == ([DifferenceKind.UNBALANCED] if cents else [])


def test_credit_is_no_part_of_the_balance() -> None:
    assert compare_balance(Decimal(5), [deal(1, 1, Decimal(5), 2), deal(2, 1, Decimal(9), 3)]) == []


def difference(ticket: int) -> Difference:
    return Difference(Subject.DEAL, DifferenceKind.MISSING_THERE, ticket, {"ticket": ticket}, {})


@given(st.lists(st.sets(st.integers(1, 6)), max_size=12))
def test_a_difference_is_reported_once_and_only_after_two_looks(looks: list[set[int]]) -> None:
    suspects: tuple[str, ...] = ()
    states: dict[str, DifferenceState] = {}
    previous: set[int] = set()
    for seen in looks:
        found = [difference(each) for each in sorted(seen)]
        open_before = {digest for digest, state in states.items() if state is DifferenceState.OPEN}
        verdict = judge(found, suspects, open_before, states.keys() - open_before)
        for each in verdict.fresh:
            assert each.digest not in states
            assert each.ticket in seen & previous
            states[each.digest] = DifferenceState.OPEN
        for digest in verdict.gone:
            assert difference_may_become(states[digest], DifferenceState.GONE)
            states[digest] = DifferenceState.GONE
        for digest in verdict.back:
            assert difference_may_become(states[digest], DifferenceState.OPEN)
            states[digest] = DifferenceState.OPEN
        is_open = {digest for digest, state in states.items() if state is DifferenceState.OPEN}
        assert is_open <= {each.digest for each in found}
        suspects, previous = verdict.suspects, seen
