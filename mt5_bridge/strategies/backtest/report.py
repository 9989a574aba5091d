"""A backtest as one HTML file: nothing is loaded from anywhere, charts are SVG inside it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

_WIDTH, _HEIGHT, _MARGIN = 960, 260, 56
_DEALS_SHOWN: Final = 1000
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p.sub{color:#5b6675;margin:.2rem 0 1rem}
table{border-collapse:collapse;width:100%;font-size:.85rem}td,th{padding:.25rem .6rem;border-bottom:1px solid #e4e8ee}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{text-align:left;color:#5b6675;font-weight:600}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.6rem;margin:1rem 0}
dl div{border:1px solid #e4e8ee;border-radius:.5rem;padding:.5rem .8rem}dt{color:#5b6675;font-size:.8rem}
dd{margin:0;font-size:1.05rem;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto}svg text{font:11px system-ui;fill:#5b6675}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ee}td,th,dl div{border-color:#2a323d}}
"""
_DEAL_COLUMNS: Final = ("time", "ticket", "type", "entry", "volume", "price", "commission", "swap", "profit", "comment")
_TYPES: Final = ("buy", "sell")
_ENTRIES: Final = ("in", "out", "in/out", "out by")


def html(result: Mapping[str, Any]) -> str:
    """The page of `Result.plain()`."""
    settings, data, curve = result["settings"], result["data"], result["curve"]
    title = f"{result['title']} on {settings['symbol']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{_moment(data["first_msc"])} to {_moment(data["last_msc"])} (broker time), '
        f"{data['bars']:,} bars, {data['ticks']:,} ticks of "
        f"{escape(str(data['recording']))}, data {data['digest']}</p>",
        _figures(result["statistics"]),
        "<h2>Equity and balance</h2>",
        _chart(curve, {"equity": (2, "#2563eb"), "balance": (1, "#94a3b8")}),
        "<h2>Drawdown</h2>",
        _chart(_falls(curve), {"drawdown": (1, "#dc2626")}),
        "<h2>Parameters and terms</h2>",
        _table(("name", "value"), [*result["parameters"].items(), *settings.items()]),
        _deals(result["deals"]),
        "<h2>Log</h2>",
        _table(("time", "text"), [(_moment(at), text) for at, text in result["log"]]),
        '<p class="sub">A backtest shows what would have been on one recording of the past. It is no promise.</p>',
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def _figures(statistics: Mapping[str, Any]) -> str:
    cells = (
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{_text(name, value)}</dd></div>"
        for name, value in statistics.items()
    )
    return f"<dl>{''.join(cells)}</dl>"


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name.endswith("share"):
        return f"{value:.1%}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _deals(deals: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            _moment(deal["time_msc"]),
            deal["ticket"],
            _TYPES[deal["type"]],
            _ENTRIES[deal["entry"]],
            *(deal[name] for name in _DEAL_COLUMNS[4:]),
        ]
        for deal in deals[:_DEALS_SHOWN]
    ]
    left = len(deals) - len(rows)
    more = f'<p class="sub">and {left:,} more, in the JSON report</p>' if left else ""
    return f"<h2>Deals</h2>{_table(_DEAL_COLUMNS, rows)}{more}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:,.10g}</td>'
    return f"<td>{escape(str(value))}</td>"


def _falls(curve: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """How far the equity lies under its highest value so far."""
    falls, peak = [], float("-inf")
    for point in curve:
        peak = max(peak, point[2])
        falls.append((point[0], point[2] - peak))
    return falls


def _chart(points: Sequence[Sequence[float]], lines: Mapping[str, tuple[int, str]]) -> str:
    """A line chart: `lines` names columns of the points and their colours; column 0 is the time (ms)."""
    if not points:
        return "<p>Nothing happened.</p>"
    low = min(point[column] for point in points for column, _ in lines.values())
    high = max(point[column] for point in points for column, _ in lines.values())
    first, last = points[0][0], points[-1][0]
    across = (_WIDTH - 2 * _MARGIN) / ((last - first) or 1)
    up = (_HEIGHT - 40) / ((high - low) or 1)

    def place(point: Sequence[float], column: int) -> str:
        return f"{_MARGIN + (point[0] - first) * across:.1f},{_HEIGHT - 24 - (point[column] - low) * up:.1f}"

    paths = [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" '
        f'points="{" ".join(place(point, column) for point in points)}"><title>{escape(name)}</title></polyline>'
        for name, (column, colour) in reversed(list(lines.items()))
    ]
    labels = [
        f'<text x="2" y="{_HEIGHT - 24}">{low:,.0f}</text><text x="2" y="20">{high:,.0f}</text>',
        f'<text x="{_MARGIN}" y="{_HEIGHT - 6}">{_moment(first)}</text>',
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 6}" text-anchor="end">{_moment(last)}</text>',
    ]
    words = " and ".join(lines)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)} over time">'
        f"{''.join(paths)}{''.join(labels)}</svg>"
    )


def _moment(msc: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(msc / 1000))
