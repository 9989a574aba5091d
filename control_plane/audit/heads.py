"""Keeps signed heads apart from the database, so that whoever writes there cannot cut off a chain's end unnoticed."""

from __future__ import annotations

import json

import structlog

from control_plane.audit import repository
from control_plane.audit.signing import is_signed
from control_plane.audit.verification import Head
from control_plane.db.engine import Database
from control_plane.storage.port import Files
from node_agent.protocol.encoding import from_text, to_text

_FOLDER = "audit-heads"
_log = structlog.get_logger(__name__)


class HeadKeeper:
    """One file for each head that was kept, never replaced; in a bucket they can be locked against deletion.

    A head also goes to the log, which operators ship to other machines.
    """

    def __init__(self, database: Database, files: Files, public_key: str) -> None:
        self._database = database
        self._files = files
        self._public_key = public_key
        self._known: set[str] | None = None

    def run_once(self) -> None:
        """Keep the present heads. Raises OSError when the files cannot be reached; the next round tries again."""
        with self._database.read_as_system() as session:
            heads = [Head(**row) for row in repository.heads(session)]
        if self._known is None:
            self._known = set(self._files.names(_FOLDER))
        for head in heads:
            name = f"{_FOLDER}/{head.tenant_id}.{head.seq:012d}.json"
            if name in self._known:
                continue
            if not is_signed(self._public_key, head.signature, head.tenant_id, head.seq, head.head_hash):
                _log.error("audit_head_not_signed", tenant=head.tenant_id, seq=head.seq)
                continue
            text = json.dumps({**vars(head), "signature": to_text(head.signature)})
            self._files.put(name, text.encode())
            _log.info("audit_head", tenant=head.tenant_id, seq=head.seq, hash=head.head_hash)
            self._known.add(name)

    def kept(self) -> list[Head]:
        """All that were ever kept. Raises OSError, or ValueError for a file that holds no head."""
        return [_read(self._files.read(name)) for name in self._files.names(_FOLDER)]


def _read(content: bytes) -> Head:
    try:
        found = json.loads(content)
        return Head(found["tenant_id"], int(found["seq"]), found["head_hash"], from_text(found["signature"]))
    except (KeyError, TypeError) as error:
        raise ValueError("not a head of a chain") from error
