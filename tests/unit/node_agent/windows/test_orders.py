"""Orders to the starter and its answers, as files that another user can write, too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.windows.orders import (
    Answer,
    Close,
    Launch,
    Order,
    answer_from_text,
    answer_to_text,
    order_from_text,
    order_to_text,
)
from node_agent.windows.port import ProcessKey, Program
from node_agent.windows.starter import take_orders
from tests.windows_double import FakeWindows

KEY = ProcessKey(7, 133_000_000_000_000_000)


@pytest.mark.parametrize(
    "order",
    [
        Close(KEY),
        Launch(Program(("a.exe", "/portable"), Path("/folder")), "job"),
        Launch(Program(("a.exe",), Path("/folder"), Path("/out"), {"A": "ü"}), "job"),
    ],
)
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    assert order_from_text(order_to_text(order)) == order


@pytest.mark.parametrize("answer", [Answer(), Answer(KEY), Answer(windows=2), Answer(error="no")])
def test_an_answer_is_read_as_it_was_written(answer: Answer) -> None:
    assert answer_from_text(answer_to_text(answer)) == answer


@given(st.one_of(st.text(), st.from_regex(r'\{"(process|launch|close)": ?[^}]*\}')))
def test_nonsense_is_a_value_error_and_nothing_else(text: str) -> None:
    for read in (order_from_text, answer_from_text):
        with suppress(ValueError):
            read(text)


def test_the_starter_takes_every_order_once_and_answers_nonsense(tmp_path: Path) -> None:
    windows = FakeWindows()
    (tmp_path / "a.order").write_text(order_to_text(Close(KEY)))
    (tmp_path / "b.order").write_text("nonsense")
    assert take_orders(windows, tmp_path) == 2
    assert answer_from_text((tmp_path / "a.answer").read_text()) == Answer(windows=0)
    assert answer_from_text((tmp_path / "b.answer").read_text()).error
    assert take_orders(windows, tmp_path) == 0
