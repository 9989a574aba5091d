"""Calls that need no terminal, drawn at random.

Several arguments are odd at once, so that it shows which one is judged first.
"""

from __future__ import annotations

import os
import random

from mt5_bridge.contract import FUNCTIONS, Style
from tests.conformance.native.cases import KEYWORDS, POSITIONAL, REQUEST, VALUES

COUNT = 2_000
_ODD = tuple(one for one in VALUES if "np.bool_" not in one and "1969" not in one and "3001" not in one)
"""Without what differs because of the Windows Python (see `differences.py`)."""
_NUMBERS = (7, 29, 30, 31, 32, 62, 63, 64, 65, 100)
_TEXTS = ("'EURUSD'", "'*'", "'*USD*,!EUR*'", "'abc'", "'secret'")
_LENGTHS = (
    1,
    14,
    15,
    28,
    29,
    30,
    31,
    126,
    127,
    252,
    253,
    254,
    255,
    256,
    257,
    258,
    259,
    998,
    999,
    1000,
    1996,
    1997,
    1998,
)
_LETTERS = ("x", "\u00e9", "\u0416", "\U0001f600", "\\ud800", "\\0")
_ZONES = ("", ", tzinfo=timezone.utc", ", tzinfo=timezone(timedelta(hours=-5))")


def chosen_seed() -> int:
    """The seed in MT5FARM_SEED, or another one each time."""
    return int(os.environ.get("MT5FARM_SEED") or random.SystemRandom().randrange(10**9))


def random_cases(seed: int, count: int = COUNT) -> list[str]:
    """So many expressions; the same for the same seed."""
    draw = random.Random(seed)
    names = [name for name, function in FUNCTIONS.items() if function.style not in {Style.PYTHON, Style.NONE}]
    return [f"mt5.{name}({_arguments(draw, name)})" for name in draw.choices(names, k=count)]


def _arguments(draw: random.Random, name: str) -> str:
    if name in {"order_check", "order_send"}:
        return _request(draw)
    good = POSITIONAL.get(name, ())
    count = len(good) if draw.random() < 0.9 else draw.randrange(6)
    args = [_value(draw) if draw.random() < 0.4 or index >= len(good) else good[index] for index in range(count)]
    keywords = KEYWORDS.get(name, ())
    if keywords and draw.random() < 0.6:
        args = [_value(draw) for _ in range(draw.choice((0, 0, 1, 2, 3)))]
    named = draw.sample(keywords, draw.randrange(len(keywords) + 1)) if keywords else []
    if draw.random() < 0.02:
        named.append("colour")
    return ", ".join([*args, *(f"{keyword}={_value(draw)}" for keyword in named)])


def _request(draw: random.Random) -> str:
    fields = draw.sample(REQUEST, draw.randrange(len(REQUEST) + 1))
    floats = {"volume", "price", "stoplimit", "sl", "tp"}
    texts = {"symbol", "comment"}
    odd = draw.choice((0.0, 0.1, 0.4))
    pairs = []
    for field in fields:
        good = "1.5" if field in floats else draw.choice(_TEXTS) if field in texts else str(draw.randrange(1000))
        pairs.append((field, _value(draw) if draw.random() < odd else good))
    form = draw.random()
    named = ", ".join(f"{field}={value}" for field, value in pairs)
    plain = "{" + ", ".join(f"'{field}': {value}" for field, value in pairs) + "}"
    return named if form < 0.3 else f"{plain}, {named}" if form < 0.35 else plain


def _value(draw: random.Random) -> str:
    match draw.randrange(8):
        case 0:
            return f"{draw.choice(('', '-'))}2**{draw.choice(_NUMBERS)} + {draw.randrange(-2, 3)}"
        case 1:
            return f"'{draw.choice(_LETTERS)}' * {draw.choice(_LENGTHS)}"
        case 2:
            year, month, day = draw.choice((1970, 2000, 2026, 2038, 2100)), draw.randint(1, 12), draw.randint(2, 28)
            return f"datetime({year}, {month}, {day}, {draw.randrange(24)}{draw.choice(_ZONES)})"
        case 3:
            return draw.choice(_TEXTS)
        case 4:
            return repr(draw.choice((1.0, -1.0)) * 10.0 ** draw.uniform(-3, 20))
        case _:
            return draw.choice(_ODD)
