"""What somebody who may write to the database, but has not the farm's keys, could do to the trail of deeds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.audit import repository
from control_plane.audit.chain import FIRST, link

_TEXTS = ("actor", "on_behalf_of", "origin", "action", "subject_id", "reason", "before", "after")
_HASHES = ("previous_hash", "entry_hash")


def open_to_changes(session: Session) -> None:
    """Whoever may write to the database may drop its triggers as well."""
    if session.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            session.execute(text(f"DROP TRIGGER IF EXISTS audit_entries_append_only_{verb}"))
    else:
        session.execute(text("DROP TRIGGER IF EXISTS audit_entries_append_only ON audit_entries"))


def tamper_with(session: Session, kind: str, seed: int) -> str:
    """Change something about the trail, by `seed`; says what."""
    return _WAYS[kind](session, random.Random(f"{kind}|{seed}"))


def _entry(session: Session, chance: random.Random) -> dict[str, Any]:
    rows = session.execute(text("SELECT * FROM audit_entries ORDER BY tenant_id, seq"))
    return dict(chance.choice(rows.mappings().all()))


def _set(session: Session, entry_id: str, column: str, value: object) -> None:
    session.execute(
        text(f"UPDATE audit_entries SET {column} = :value WHERE id = :id"), {"value": value, "id": entry_id}
    )


def _change_text(session: Session, chance: random.Random) -> str:
    entry, column = _entry(session, chance), chance.choice(_TEXTS)
    old = str(entry[column])
    place = chance.randrange(len(old) + 1)
    changes = [old[:place] + chance.choice("abcxyz ") + old[place:], old[:place] + old[place + 1 :], old + " ", ""]
    new = chance.choice([each for each in changes if each != old])
    _set(session, entry["id"], column, new)
    return f"{column} of {entry['seq']}"


def _change_time(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    _set(session, entry["id"], "at", f"20{chance.randint(27, 99)}-01-0{chance.randint(1, 9)} 00:00:00.000000")
    return f"time of {entry['seq']}"


def _change_hash(session: Session, chance: random.Random) -> str:
    entry, column = _entry(session, chance), chance.choice(_HASHES)
    digits = list(str(entry[column]))
    place = chance.randrange(len(digits))
    digits[place] = chance.choice([each for each in "0123456789abcdef" if each != digits[place]])
    _set(session, entry["id"], column, "".join(digits))
    return f"{column} of {entry['seq']}"


def _rename(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    _set(session, entry["id"], "id", f"aud_{chance.randrange(10**12)}")
    return f"id of {entry['seq']}"


def _delete(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    session.execute(text("DELETE FROM audit_entries WHERE id = :id"), {"id": entry["id"]})
    return f"deleted {entry['seq']}"


def _delete_and_close_up(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    session.execute(text("DELETE FROM audit_entries WHERE id = :id"), {"id": entry["id"]})
    later = {"tenant": entry["tenant_id"], "seq": entry["seq"]}
    for shift in ("seq = -(seq - 1)", "seq = -seq"):
        session.execute(
            text(f"UPDATE audit_entries SET {shift} WHERE tenant_id = :tenant AND (seq > :seq OR seq < 0)"), later
        )
    return f"deleted {entry['seq']} and closed up"


def _swap(session: Session, chance: random.Random) -> str:
    one = _entry(session, chance)
    rows = session.execute(
        text("SELECT * FROM audit_entries WHERE tenant_id = :tenant AND id <> :id ORDER BY seq"),
        {"tenant": one["tenant_id"], "id": one["id"]},
    )
    other = chance.choice(rows.mappings().all())
    for entry_id, seq in ((one["id"], -1), (other["id"], one["seq"]), (one["id"], other["seq"])):
        _set(session, entry_id, "seq", seq)
    return f"swapped {one['seq']} and {other['seq']}"


def _insert(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    last = _last(session, entry["tenant_id"])
    entry = {**entry, "id": f"aud_{chance.randrange(10**12)}", "seq": last["seq"] + 1}
    entry["previous_hash"] = last["entry_hash"]
    _write(session, entry)
    return f"added one after {last['seq']}"


def _cut_off(session: Session, chance: random.Random) -> str:
    entry = _entry(session, chance)
    session.execute(
        text("DELETE FROM audit_entries WHERE tenant_id = :tenant AND seq >= :seq"),
        {"tenant": entry["tenant_id"], "seq": entry["seq"]},
    )
    if chance.random() < 0.5 and entry["seq"] > 1:
        _move_head(session, entry["tenant_id"], _last(session, entry["tenant_id"]))
    return f"cut off from {entry['seq']}"


def _forge_one(session: Session, chance: random.Random) -> str:
    """Change one entry and its own hash, and leave what follows as it is."""
    entry = _entry(session, chance)
    _set(session, entry["id"], "reason", f"forged {chance.randrange(10**9)}")
    rows = repository.entries(session, entry["tenant_id"])
    changed = next(row for row in rows if row["id"] == entry["id"])
    made = link(**{name: value for name, value in changed.items() if name != "entry_hash"})
    _set(session, entry["id"], "entry_hash", made)
    return f"forged {entry['seq']}"


def _forge_the_rest(session: Session, chance: random.Random) -> str:
    """Change one entry and calculate every later hash anew, as the farm would; only its signature cannot be made."""
    entry = _entry(session, chance)
    _set(session, entry["id"], "reason", f"forged {chance.randrange(10**9)}")
    _rehash(session, entry["tenant_id"])
    return f"forged from {entry['seq']} on"


def _cut_out_and_forge(session: Session, chance: random.Random) -> str:
    done = _delete_and_close_up(session, chance)
    for tenant in session.execute(text("SELECT tenant_id FROM audit_chains ORDER BY tenant_id")).scalars().all():
        _rehash(session, tenant)
    return f"{done}, hashes made anew"


def _change_head(session: Session, chance: random.Random) -> str:
    tenant = chance.choice(session.execute(text("SELECT tenant_id FROM audit_chains ORDER BY 1")).scalars().all())
    change = chance.choice(
        ["seq = seq + 1", "seq = seq - 1", "head_hash = substr(head_hash, 2) || 'x'", "signature = :junk"]
    )
    junk = {"junk": chance.randbytes(64)} if "junk" in change else {}
    session.execute(text(f"UPDATE audit_chains SET {change} WHERE tenant_id = :tenant"), {"tenant": tenant, **junk})
    return f"head: {change}"


def _delete_head(session: Session, chance: random.Random) -> str:
    tenant = chance.choice(session.execute(text("SELECT tenant_id FROM audit_chains ORDER BY 1")).scalars().all())
    session.execute(text("DELETE FROM audit_chains WHERE tenant_id = :tenant"), {"tenant": tenant})
    if chance.random() < 0.5:
        session.execute(text("DELETE FROM audit_entries WHERE tenant_id = :tenant"), {"tenant": tenant})
    return "deleted a head"


def _last(session: Session, tenant: str) -> dict[str, Any]:
    query = text("SELECT * FROM audit_entries WHERE tenant_id = :tenant ORDER BY seq DESC LIMIT 1")
    return dict(session.execute(query, {"tenant": tenant}).mappings().one())


def _write(session: Session, entry: dict[str, Any]) -> None:
    names = ", ".join(entry)
    values = ", ".join(f":{name}" for name in entry)
    session.execute(text(f"INSERT INTO audit_entries ({names}) VALUES ({values})"), entry)


def _move_head(session: Session, tenant: str, entry: dict[str, Any]) -> None:
    session.execute(
        text("UPDATE audit_chains SET seq = :seq, head_hash = :hash WHERE tenant_id = :tenant"),
        {"seq": entry["seq"], "hash": entry["entry_hash"], "tenant": tenant},
    )


def _rehash(session: Session, tenant: str) -> None:
    previous, last = FIRST, None
    for entry in list(repository.entries(session, tenant)):
        hashed = {name: value for name, value in entry.items() if name != "entry_hash"} | {"previous_hash": previous}
        made = link(**hashed)
        _set(session, entry["id"], "previous_hash", previous)
        _set(session, entry["id"], "entry_hash", made)
        previous, last = made, {**entry, "entry_hash": made}
    if last is not None:
        _move_head(session, tenant, last)


_WAYS: dict[str, Callable[[Session, random.Random], str]] = {
    "change_text": _change_text,
    "change_time": _change_time,
    "change_hash": _change_hash,
    "rename": _rename,
    "delete": _delete,
    "delete_and_close_up": _delete_and_close_up,
    "swap": _swap,
    "insert": _insert,
    "cut_off": _cut_off,
    "forge_one": _forge_one,
    "forge_the_rest": _forge_the_rest,
    "cut_out_and_forge": _cut_out_and_forge,
    "change_head": _change_head,
    "delete_head": _delete_head,
}
KINDS = tuple(_WAYS)
