"""The portable folder of a simulated terminal: start-up configuration and journal, laid out as MT5 does."""

from __future__ import annotations

import configparser
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

BUILD = 5260


class FolderError(Exception):
    """A folder that cannot be used; the text says why and carries no secret."""


@dataclass(frozen=True)
class Credentials:
    """What the terminal logs in with."""

    login: int
    password: str = field(repr=False)
    server: str


@dataclass(frozen=True)
class Startup:
    """`config/startup.ini`: the account, if one is given, whether programs may trade, the chart that is open."""

    credentials: Credentials | None
    trade_allowed: bool
    tradeapi_disabled: bool
    build: int = BUILD
    """The build that the terminal says it is: `Build` in the section `[Simulated]`."""
    chart: str = ""
    """Symbol of the chart that is opened at the start: `Symbol` in the section `[StartUp]`."""


def read_startup(folder: Path) -> Startup:
    """Read the start-up file; without one the terminal starts with no account. Raises FolderError."""
    path = folder / "config" / "startup.ini"
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        # MT5 writes its files in UTF-16, people and programs in UTF-8.
        data = path.read_bytes()
        parser.read_string(data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"))
    except FileNotFoundError:
        return Startup(None, trade_allowed=True, tradeapi_disabled=False)
    except (OSError, ValueError, configparser.Error) as error:
        raise FolderError(f"{path} is not a readable start-up file") from error
    common = parser["Common"] if parser.has_section("Common") else {}
    login = common.get("Login", "0").strip()
    if not login.isdecimal():
        raise FolderError(f"{path} has a Login that is no number")
    credentials = Credentials(int(login), common.get("Password", ""), common.get("Server", "").strip())
    experts = parser["Experts"] if parser.has_section("Experts") else {}
    return Startup(
        credentials if credentials.login else None,
        trade_allowed=experts.get("Enabled", "1") != "0" and experts.get("AllowLiveTrading", "1") != "0",
        tradeapi_disabled=experts.get("Api", "0") == "1",
        build=parser.getint("Simulated", "Build", fallback=BUILD),
        chart=parser.get("StartUp", "Symbol", fallback="").strip(),
    )


def server_address(folder: Path, server: str) -> str | None:
    """Address of a broker server by its name in `config/servers.json`, None if the file does not have it."""
    try:
        servers = json.loads((folder / "config" / "servers.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    address = servers.get(server) if isinstance(servers, dict) else None
    return address if isinstance(address, str) else None


class Journal:
    """`logs/YYYYMMDD.log`, tab separated: mark, severity (0 info, 1 warning, 2 error), time, source, text. UTF-8."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = folder / "logs"
        self._now = now
        self._lock = threading.Lock()
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, source: str, text: str, severity: int = 0) -> None:
        """Append a line. A full disk loses the line, not the terminal."""
        moment = self._now()
        line = f"MF\t{severity}\t{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}\t{source}\t{text}\n"
        try:
            with self._lock, (self._folder / f"{moment:%Y%m%d}.log").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            return
