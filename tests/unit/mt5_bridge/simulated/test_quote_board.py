"""The board tells the newest tick or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.simulated.quote_board import BoardReader, QuoteBoard
from mt5_bridge.structs import TICKS_DTYPE, Tick

PRICE = st.floats(0, 1e9)
ROW = st.tuples(
    st.integers(0, 2**40),
    PRICE,
    PRICE,
    PRICE,
    st.integers(0, 2**63),
    st.integers(1, 2**50),
    st.integers(0, 2**31),
    PRICE,
)


def _board(folder: Path) -> tuple[QuoteBoard, BoardReader]:
    board = QuoteBoard(folder, ("EURUSD", "USDJPY"))
    board.open(on=True)
    return board, BoardReader(board.key)


@settings(max_examples=50)
@given(row=ROW)
def test_a_tick_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, row: tuple[float, ...]) -> None:
    board, reader = _board(tmp_path_factory.mktemp("board"))
    board.put("USDJPY", np.array([row], TICKS_DTYPE)[0])
    assert reader.tick("USDJPY") == Tick(row)
    assert reader.tick("EURUSD") is None


def test_a_row_that_is_half_written_is_not_a_tick(tmp_path: Path) -> None:
    board, reader = _board(tmp_path)
    old, new = (np.array([(1, bid, bid, 0, 0, 1, 6, 0)], TICKS_DTYPE)[0] for bid in (1.1, 1.2))
    board.put("EURUSD", old)
    board.put("USDJPY", new)
    path = Path(board.key.path)
    whole = path.read_bytes()
    for cut in range(8, 16):
        mixed = whole[: 64 + cut] + whole[64 + 128 + cut : 64 + 256] + whole[64 + 128 :]
        with path.open("r+b") as file:
            file.write(mixed)
        assert reader.tick("EURUSD") in (None, Tick(old.item()), Tick(new.item()))
        assert mixed[64:128] in (whole[64:128], whole[192:256]) or reader.tick("EURUSD") is None


def test_a_closed_board_tells_nothing(tmp_path: Path) -> None:
    board, reader = _board(tmp_path)
    board.put("EURUSD", np.ones(1, TICKS_DTYPE)[0])
    board.open(on=False)
    assert reader.tick("EURUSD") is None
    board.open(on=True)
    assert reader.tick("EURUSD") is not None


def test_an_unknown_symbol_is_not_on_the_board(tmp_path: Path) -> None:
    _, reader = _board(tmp_path)
    assert reader.tick("GBPUSD") is None


def test_another_brokers_board_is_not_read(tmp_path: Path) -> None:
    board, _ = _board(tmp_path)
    with pytest.raises(OSError, match="another broker"):
        BoardReader(board.key._replace(nonce=bytes(16)))
    with pytest.raises(FileNotFoundError):
        BoardReader(board.key._replace(path=str(tmp_path / "none")))
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty"):
        BoardReader(board.key._replace(path=str(tmp_path / "empty")))


def test_a_new_broker_takes_the_old_board_away(tmp_path: Path) -> None:
    first, _ = _board(tmp_path)
    second, _ = _board(tmp_path)
    assert [str(one) for one in tmp_path.iterdir()] == [second.key.path]
    assert first.key.nonce != second.key.nonce
