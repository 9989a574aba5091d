"""`mt5farm audit ...`: check the trail of deeds, and take it out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.audit import repository
from control_plane.audit.service import Deed
from control_plane.audit.verification import Head, Verdict, verify_chain, verify_database
from control_plane.errors import NotFoundError, invalid_field
from control_plane.fleet.commands import this_person
from control_plane.opening import Data, open_farm
from node_agent.protocol.encoding import from_text, to_text

audit = typer.Typer(help="Who did what, when and from where.", no_args_is_help=True)
_SHOWN = 20


@audit.command("verify")
def verify(data: Data) -> None:
    """Check every chain against its hashes, its head and the heads that are kept apart. Exits with 1 on a find."""
    farm = open_farm(data)
    kept = farm.head_keeper.kept()
    with farm.database.read_as_system() as session:
        verdict = verify_database(session, kept, farm.audit_key)
    farm.stop()
    print(f"public key  {farm.audit_key}")
    print(f"kept apart  {len(kept)} heads")
    _say(verdict)


@audit.command("export")
def export(
    data: Data,
    tenant: Annotated[str, typer.Option(help="Id of the tenant whose trail it is.")],
    into: Annotated[Path, typer.Option(help="File to write, one JSON object in each line, the signed head last.")],
) -> None:
    """Write a tenant's whole trail to a file that `verify-export` can check without the farm."""
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        farm.audit.record(session, tenant, Deed(this_person(), "export_audit", tenant, str(into)))
    with farm.database.read_as_system() as session, into.open("x", encoding="utf-8") as file:
        head = next((Head(**row) for row in repository.heads(session) if row["tenant_id"] == tenant), None)
        if head is None:
            raise NotFoundError("This tenant has no audit trail.")
        for row in repository.entries(session, tenant):
            file.write(json.dumps({**row, "at": row["at"].isoformat()}) + "\n")
        file.write(json.dumps({"head": {**vars(head), "signature": to_text(head.signature)}}) + "\n")
    farm.stop()
    print(f"{head.seq} entries; check them with: mt5farm audit verify-export {into} --public-key {farm.audit_key}")


@audit.command("verify-export")
def verify_export(
    file: Annotated[Path, typer.Argument(help="What `export` has written.", exists=True)],
    public_key: Annotated[str, typer.Option(help="Of the farm, as `verify` prints it; noted down long before.")],
) -> None:
    """Check an exported trail. Needs nothing but the file and the key. Exits with 1 on a find."""
    *lines, last = file.read_text("utf-8").splitlines() or [""]
    try:
        found = json.loads(last)["head"]
        head = Head(found["tenant_id"], found["seq"], found["head_hash"], from_text(found["signature"]))
        verdict = verify_chain(head.tenant_id, _entries(lines), head, (), public_key)
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_field("file", "This is no exported audit trail.") from error
    _say(verdict)


def _entries(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        entry = json.loads(line)
        yield {**entry, "at": datetime.fromisoformat(entry["at"])}


def _say(verdict: Verdict) -> None:
    print(f"entries     {verdict.entries}")
    print(f"findings    {len(verdict.findings)}")
    for each in verdict.findings[:_SHOWN]:
        print(f"  {each.tenant_id} entry {each.seq}: {each.problem}")
    if verdict.findings:
        raise typer.Exit(1)
