"""The start-up file of a terminal: logs it in and switches Algo Trading on.

Keys and sections are MT5's (help page "Platform Start", /config). The password is nowhere else: not on the command
line, and `KeepPrivate=0` keeps the terminal from saving it. Not proven with a real terminal.
"""

from __future__ import annotations

from node_agent.protocol.sealing import Credentials

_BREAKS = frozenset("\r\n\0")
_TEXT = """[Common]
Login={login}
Password={password}
Server={server}
KeepPrivate=0
NewsEnable=0
CertInstall=0
[Experts]
AllowLiveTrading=1
AllowDllImport=0
Enabled=1
Account=0
Profile=0
"""


def startup_file(credentials: Credentials) -> bytes:
    """The file's content. Raises ValueError, safe to show, for what cannot be said in such a file."""
    for value, what in ((credentials.password, "password"), (credentials.server, "server's name")):
        if _BREAKS & set(value):
            raise ValueError(f"The {what} contains a character that MT5 cannot take.")
        # Windows strips blanks around a value and quotes from it, so that another password would be tried.
        if value != value.strip() or (value[:1] in "\"'" and value[:1] == value[-1:]):
            raise ValueError(f"The {what} has blanks or quotes around it, which MT5's start-up file cannot hold.")
    text = _TEXT.format(login=credentials.login, password=credentials.password, server=credentials.server)
    text = text.replace("\n", "\r\n")
    # Windows reads such files in the machine's code page, or in UTF-16 when they begin with its mark.
    return text.encode() if text.isascii() else b"\xff\xfe" + text.encode("utf-16-le")
