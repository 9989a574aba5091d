"""Files of history: MT5's CSV, Parquet, and the formats of the shared market data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt5_bridge.history.command import main
from mt5_bridge.history.source_file import SourceFile
from mt5_bridge.simulated.market.replay import replay_market

DATA = Path(__file__).parents[4].parent / "shared" / "market_data"

BARS_CSV = (
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
    "2025.09.22\t00:00:00\t1.17403\t1.17405\t1.17402\t1.17404\t12\t0\t3\r\n"
    "2025.09.22\t00:01:00\t1.17404\t1.17409\t1.17404\t1.17409\t7\t0\t2\r\n"
)
TICKS_CSV = (
    "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\r\n"
    "2025.09.22\t00:00:00.161\t\t1.17603\t\t\t4\r\n"
    "2025.09.22\t00:00:00.200\t1.17403\t\t\t\t2\r\n"
    "2025.09.22\t00:00:47.468\t1.17405\t1.17605\t\t\t6\r\n"
    "2025.09.22\t00:00:47.468\t\t1.17606\t\t\t4\r\n"
)


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail(f"{DATA} is needed")
        pytest.skip("the shared market data are not here")
    return DATA


def _rows(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return {name: np.asarray(table.column(name).to_numpy()) for name in table.column_names}


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def _import(*arguments: str | Path) -> int:
    return main(["import", *(str(one) for one in arguments)])


def test_bars_that_mt5_exported_become_a_file_for_replays(tmp_path: Path) -> None:
    source = tmp_path / "EURUSD_M1_202509220000_202509220001.csv"
    source.write_bytes(BARS_CSV.encode())
    assert _import(source, "--output", tmp_path / "out") == 0
    rows = _rows(tmp_path / "out" / "mt5_bars_EURUSD_M1_20250922-20250922.parquet")
    assert rows["time"].tolist() == [1_758_499_200, 1_758_499_260]
    assert rows["close"].tolist() == [1.17404, 1.17409]
    assert rows["tick_volume"].tolist() == [12, 7]
    assert rows["spread"].tolist() == [3, 2]
    assert rows["tick_volume"].dtype == np.uint64


def test_empty_fields_of_ticks_keep_what_was_before(tmp_path: Path) -> None:
    source = tmp_path / "EURUSD_202509220000_202509220001.csv"
    source.write_bytes(TICKS_CSV.encode())
    assert _import(source, "--output", tmp_path / "x.parquet") == 0
    rows = _rows(tmp_path / "x.parquet")
    assert rows["bid"].tolist() == [1.17403, 1.17405, 1.17405]
    assert rows["ask"].tolist() == [1.17603, 1.17605, 1.17606]
    assert rows["time_msc"].tolist() == [1_758_499_200_200, 1_758_499_247_468, 1_758_499_247_468]
    assert rows["flags"].tolist() == [2, 6, 4]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_other_encodings_and_commas_are_read_too(tmp_path: Path, encoding: str, delimiter: str) -> None:
    source = tmp_path / "EURUSD_M1.csv"
    source.write_bytes(BARS_CSV.replace("\t", delimiter).encode(encoding))
    assert _import(source, "--output", tmp_path / "x.parquet") == 0
    assert len(_rows(tmp_path / "x.parquet")["time"]) == 2


@pytest.mark.parametrize(("source", "text"), [("EURUSD_M1_x.csv", BARS_CSV), ("EURUSD_x.csv", TICKS_CSV)])
def test_csv_comes_back_as_it_was(tmp_path: Path, source: str, text: str) -> None:
    (tmp_path / source).write_bytes(text.encode())
    assert _import(tmp_path / source, "--output", tmp_path / "once.csv", "--symbol", "EURUSD") == 0
    assert _import(tmp_path / "once.csv", "--output", tmp_path / "twice.csv", "--symbol", "EURUSD") == 0
    assert (tmp_path / "once.csv").read_bytes() == (tmp_path / "twice.csv").read_bytes()
    if text is BARS_CSV:
        assert (tmp_path / "once.csv").read_bytes() == text.encode()


def test_daily_bars_have_no_time_column(tmp_path: Path) -> None:
    source = tmp_path / "EURUSD_Daily.csv"
    source.write_bytes(
        BARS_CSV.replace("<TIME>\t", "").replace("\t00:00:00", "").replace("22\t00:01:00", "23").encode()
    )
    assert _import(source, "--output", tmp_path / "out.csv") == 0
    assert (tmp_path / "out.csv").read_bytes() == source.read_bytes()


def test_real_ticks_through_csv_and_back_are_the_same(tmp_path: Path, data: Path) -> None:
    source = _only(data, "mt5_ticks_GBPUSD_*")
    assert _import(source, "--output", tmp_path, "--format", "csv") == 0
    assert _import(_only(tmp_path, "GBPUSD_*.csv"), "--output", tmp_path) == 0
    before, after = _rows(source), _rows(_only(tmp_path, "*.parquet"))
    for name in after:
        if name in {"bid", "ask"}:  # the file's floats carry noise after the fifth digit
            assert np.array_equal(np.round(before[name], 5), after[name])
        else:
            assert np.array_equal(before[name], after[name]), name


def test_every_file_of_the_shared_data_can_be_imported(tmp_path: Path, data: Path) -> None:
    for path in sorted(data.glob("*.parquet")):
        several = "M2-MN1" in path.name
        options = ["--timeframe", "H4"] if several else []
        assert _import(path, "--output", tmp_path / path.stem, *options) == 0, path
        written = _rows(_only(tmp_path / path.stem, "*.parquet"))
        total = pq.ParquetFile(path).metadata.num_rows
        if several:
            assert 0 < len(written["time"]) < total
        elif path.name.startswith("lean_ticks"):
            assert len(written["time"]) > 0.9 * total  # ticks in which nothing changed are left out
        else:
            assert len(written["time"]) == total


def test_what_was_imported_replays(tmp_path: Path, data: Path) -> None:
    source = data / "nautilus_bars_USDJPY_M1_bidask_201302.parquet"
    assert _import(source, "--output", tmp_path, "--shift-hours", "2") == 0
    market = replay_market(tmp_path, ["USDJPY"])
    assert market.start_msc == (int(_rows(source)["time"][0]) + 7200) * 1000
    market.release(market.start_msc + 3_600_000)
    assert len(market.series["USDJPY"].bars_from_position(1, 0, 30)) == 30


BAD = {
    "no csv": (b"hello", "no CSV export of MT5"),
    "no rows": ((BARS_CSV.splitlines()[0] + "\r\n").encode(), "has no rows"),
    "a bad date": (BARS_CSV.replace("2025.09.22\t00:01", "2025.13.22\t00:01").encode(), "line 3"),
    "a bad number": (BARS_CSV.replace("1.17409\t7", "abc\t7").encode(), "line 3"),
    "a missing price": (BARS_CSV.replace("1.17409\t7", "\t7").encode(), "line 3"),
    "too few columns": (BARS_CSV.replace("\t7\t0\t2", "").encode(), "cannot be read"),
    "not in order": (BARS_CSV.replace("00:01:00", "00:00:00").encode(), "row 2"),
    "a high below": (BARS_CSV.replace("1.17409\t1.17404", "1.10000\t1.17404").encode(), "row 2"),
    "no price": (BARS_CSV.replace("1.17404\t12", "0\t12").encode(), "row 1"),
}


@pytest.mark.parametrize("trouble", BAD)
def test_a_bad_file_is_one_clear_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    content, words = BAD[trouble]
    source = tmp_path / "EURUSD_M1_x.csv"
    source.write_bytes(content)
    assert _import(source, "--output", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert words in told
    assert str(source) in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("out/*"))


def test_a_file_that_exists_is_kept_unless_it_is_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "EURUSD_M1.csv", tmp_path / "kept.parquet"
    source.write_bytes(BARS_CSV.encode())
    target.write_bytes(b"old")
    assert _import(source, "--output", target) == 1
    assert "--replace" in capsys.readouterr().err
    assert target.read_bytes() == b"old"
    assert _import(source, "--output", target, "--replace") == 0
    assert len(_rows(target)["time"]) == 2


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    times = np.arange(200_000, dtype=np.int64) * 60
    prices = np.full(len(times), 1.1)
    prices[150_000] = np.nan
    columns = {"time": times, **dict.fromkeys(("open", "high", "low", "close"), prices)}
    source, target = tmp_path / "bars_EURUSD.parquet", tmp_path / "out" / "x.parquet"
    pq.write_table(pa.table(columns), source)
    target.parent.mkdir()
    target.write_bytes(b"old")
    assert _import(source, "--output", target, "--replace") == 1
    assert [path.name for path in target.parent.iterdir()] == ["x.parquet"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("mt5_bars_EURUSD_M1_2025.parquet", "EURUSD"),
        ("EURUSD_M1_202509220000_202509302359.csv", "EURUSD"),
        ("US500_H4.csv", "US500"),
        ("lean_ticks_XAUUSD_oanda.parquet", "XAUUSD"),
    ],
)
def test_the_file_s_name_names_the_symbol(tmp_path: Path, name: str, symbol: str) -> None:
    path = tmp_path / name
    if path.suffix == ".csv":
        path.write_bytes(BARS_CSV.encode())
    else:
        pq.write_table(pa.table({"time": [60], **{name: [1.5] for name in ("open", "high", "low", "close")}}), path)
    assert SourceFile(path).symbol == symbol


@pytest.mark.parametrize(
    "arguments",
    [[], ["import"], ["import", "x", "--output"], ["export", "--kind", "M7"], ["import", "x", "--digits", "q"]],
)
def test_bad_arguments_are_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
