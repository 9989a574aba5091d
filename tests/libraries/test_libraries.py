"""Programs of ten lines with other people's libraries, run unchanged against a terminal of the farm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.simulated.admin import BrokerAdmin

PROGRAMS = Path(__file__).parent / "programs"


def trades(admin: BrokerAdmin, login: int, **wanted: Any) -> list[Any]:
    """The account's deals in the broker's book, without the deposit."""
    deals = [deal for deal in admin.deals(login) if deal.type in {0, 1}]
    return [deal for deal in deals if all(getattr(deal, name) == value for name, value in wanted.items())]


@pytest.mark.timeout(400)
def test_pdmt5(farm: Any, installed: Callable[..., Path]) -> None:
    done = farm.run(installed("pdmt5==1.2.3"), PROGRAMS / "pdmt5_program.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{farm.line.login} 5", "50 float64 no index", "10009", "[0.1] 2"]
    assert len(trades(farm.admin, farm.line.login, comment="pdmt5")) == 1


@pytest.mark.timeout(400)
def test_metatrader_mcp_server(farm: Any, installed: Callable[..., Path]) -> None:
    before = len(trades(farm.admin, farm.line.login))
    library = installed("metatrader-mcp-server==0.5.1", "pytz", "tabulate")
    done = farm.run(library, PROGRAMS / "mcp_program.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"True {farm.line.login}", "40 True", "False 10009", "True False", "True"]
    assert len(trades(farm.admin, farm.line.login)) == before + 2


@pytest.mark.timeout(400)
def test_aiomql(farm: Any, installed: Callable[..., Path]) -> None:
    drawing = ("mplfinance", "matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing")
    common = ("pytz", "six", "python-dateutil", "packaging")
    library = installed("aiomql==4.0.14", "pandas-ta-classic", *common, *drawing)
    # The library asks for pandas_ta, whose old versions are gone; this is its maintained continuation.
    (library / "pandas_ta.py").write_text("from pandas_ta_classic import *\n")
    done = farm.run(library, PROGRAMS / "aiomql_program.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{farm.line.login} True 5", "30 True", "0 10009"]
    assert len(trades(farm.admin, farm.line.login, comment="aiomql")) == 1
