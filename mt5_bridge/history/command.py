"""`mt5farm-bridge history export|import`."""

from __future__ import annotations

import argparse
import calendar
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from mt5_bridge.history.kinds import TIMEFRAMES, Kind
from mt5_bridge.history.output import Output
from mt5_bridge.history.source_file import SourceFile
from mt5_bridge.history.terminal import TerminalHistory
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.simulated.parser import Parser

_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


class Progress:
    """Tells how far it has come: one line that changes on a screen, a line for every tenth elsewhere."""

    def __init__(self, label: str, first: int, end: int, stream: TextIO) -> None:
        self._label, self._first, self._end, self._stream = label, first, end, stream
        self._rows, self._told = 0, 0

    def reached(self, moment: int, rows: int) -> None:
        """`rows` more have been written, up to the broker time `moment` (s); a length of 0 is not told in percent."""
        self._rows += rows
        length = self._end - self._first
        tenth = 10 * (moment - self._first) // length if length > 0 else self._rows // 1_000_000
        if self._stream.isatty() or tenth > self._told:
            self._told = tenth
            done = f"{min(100, 100 * (moment - self._first) // length)} %, " if length > 0 else ""
            text = f"{self._label}: {done}{_text(moment)}, {self._rows:,} rows"
            self._stream.write(f"\r{text}\x1b[K" if self._stream.isatty() else f"{text}\n")
            self._stream.flush()

    def done(self, path: Path) -> None:
        """Name the file."""
        lead = "\r" if self._stream.isatty() else ""
        self._stream.write(f"{lead}{self._label}: {self._rows:,} rows in {path}\n")


def _text(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))


def _moment(text: str) -> int:
    for form in _FORMS:
        try:
            return calendar.timegm(time.strptime(text, form))
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"must be a date such as 2025-09-22 or '2025-09-22 13:30', not {text!r}")


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError as error:
        known = ", ".join(TIMEFRAMES)
        raise argparse.ArgumentTypeError(f"must be ticks or one of {known}, not {text!r}") from error


def _parser() -> Parser:
    parser = Parser(prog="history", description="Ticks and bars in files.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    export = verbs.add_parser("export", help="save ticks or bars of a terminal")
    export.add_argument("--connection", required=True, metavar="FILE|-", help="as for `run`")
    export.add_argument("--symbol", required=True)
    export.add_argument("--kind", type=_kind, required=True, help="ticks, or a timeframe such as M1")
    export.add_argument("--from", dest="first", type=_moment, required=True, help="broker time")
    export.add_argument("--to", dest="end", type=_moment, help="broker time, itself left out; the newest if not given")
    bring = verbs.add_parser("import", help="bring files into the shape that replays and pandas read")
    bring.add_argument("source", type=Path, nargs="+", help="Parquet, or CSV that MT5 exported")
    bring.add_argument("--symbol", default="", help="the files' names name it if not given")
    bring.add_argument("--timeframe", default="", choices=("", *TIMEFRAMES), help="of a file that holds several")
    bring.add_argument("--digits", type=int, choices=range(9), help="digits of the prices")
    bring.add_argument("--shift-hours", type=float, default=0.0, help="added to all times, to reach the broker's clock")
    for one in (export, bring):
        one.add_argument("--output", type=Path, required=True, help="a file .parquet or .csv (MT5's), or a folder")
        one.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="of files in a folder")
        one.add_argument("--replace", action="store_true", help="replace a file that exists")
    return parser


def _write(batches: Iterable[tuple[int, Array]], output: Output, progress: Progress) -> None:
    with output:
        for moment, rows in batches:
            output.write(rows)
            progress.reached(moment, len(rows))
        path = output.finish()
    progress.done(path)


def export_history(terminal: Any, arguments: argparse.Namespace, stream: TextIO) -> None:
    """Save what `arguments` ask for of an initialised terminal. Raises HistoryError, OSError."""
    history = TerminalHistory(terminal, arguments.symbol, arguments.kind)
    end = history.end() if arguments.end is None else min(arguments.end, history.end())
    if end <= arguments.first:
        raise HistoryError(f"The time asked for is empty: what is finished ends at {_text(end)}.")
    output = _output(arguments, arguments.symbol, arguments.kind, history.digits)
    progress = Progress(f"{arguments.symbol} {arguments.kind.words}", arguments.first, end, stream)
    _write(history.batches(arguments.first, end), output, progress)


def _output(arguments: argparse.Namespace, symbol: str, kind: Kind, digits: int) -> Output:
    suffix = f".{arguments.format}"
    return Output(arguments.output, symbol, kind, digits, suffix=suffix, replace=arguments.replace)


def _export(arguments: argparse.Namespace) -> int:
    from mt5_bridge.client.errors import BridgeError, BridgeLost
    from mt5_bridge.client.run import load_connection, open_connection
    from mt5_bridge.worker_config import ConfigError

    try:
        with open_connection(load_connection(arguments.connection)) as terminal:
            if not terminal.initialize():
                code, text = terminal.last_error()
                raise HistoryError(f"The terminal is not there ({code}, {text}).")
            export_history(terminal, arguments, sys.stderr)
    except ConfigError as error:
        sys.stderr.write(f"history: {error}.\n")
        return 2
    except (BridgeError, BridgeLost) as error:
        raise HistoryError(f"The terminal cannot be reached ({error}).") from error
    return 0


def _import(arguments: argparse.Namespace) -> int:
    if len(arguments.source) > 1 and arguments.output.suffix:
        raise HistoryError("Several files need a folder as --output.")
    for path in arguments.source:
        source = SourceFile(
            path,
            symbol=arguments.symbol,
            timeframe=arguments.timeframe,
            digits=arguments.digits,
            shift=round(arguments.shift_hours * 3600),
        )
        output = _output(arguments, source.symbol, source.kind, source.digits)
        _write(source.batches(), output, Progress(f"{source.symbol} {source.kind.words}", 0, 0, sys.stderr))
    return 0


def main(argv: Sequence[str]) -> int:
    """Exit code 2 for bad arguments, 1 for what cannot be read or written; no file is left half written."""
    arguments = _parser().parse_args(argv)
    try:
        return _export(arguments) if arguments.verb == "export" else _import(arguments)
    except HistoryError as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(f"{error.filename or arguments.output} cannot be read or written: {error.strerror}.\n")
    return 1
