"""The commands `mt5farm backup` and `mt5farm restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.backup.aftermath import make_safe
from control_plane.backup.service import make_backup, restore
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.fleet.commands import this_person
from control_plane.opening import Data, open_farm
from control_plane.resources import master_key_path, open_master_keys


def backup(data: Data, to: Annotated[Path, typer.Option(help="New folder to save into.")]) -> None:
    """Save database and files of the farm into a new folder, while it runs. The master key is not saved."""
    settings = Settings(data=data)
    saved = make_backup(settings, to, SystemClock())
    rows = sum(table.rows for table in saved.manifest.tables.values())
    print(f"{rows} rows of {len(saved.manifest.tables)} tables, {saved.size / 1e6:.1f} MB, in {to}")
    for name in saved.unknown:
        print(f"Not saved, since it is not the farm's: {data / name}")
    print(
        f"The master key is not in it. Keep a copy of {master_key_path(settings)} elsewhere: "
        "without it no broker password in the backup can be opened, and with it all of them can."
    )


def restore_farm(
    source: Annotated[Path, typer.Option("--from", help="Folder that `mt5farm backup` made.")],
    into: Annotated[Path, typer.Option(help="Data folder of the restored farm; may hold the master key already.")],
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Only for a farm that was stopped before its backup and has not run since."),
    ] = False,
) -> None:
    """Make a farm of a backup. The database must be empty, its address is taken from MT5FARM_DATABASE_URL.

    What has happened since the backup is not known to the restored farm. Unless it is `--exact`, it therefore sends
    all nodes everything anew, starts nothing before all of them have reported, hands out higher epochs than ever
    before, and has everybody sign in again. For that it needs the farm's master key in its place.
    """
    settings = Settings(data=into)
    if not exact:
        open_master_keys(settings, needed=True)  # what is done about the past is signed: before anything is changed
    manifest = restore(source, settings)
    rows = sum(table.rows for table in manifest.tables.values())
    print(f"{rows} rows of {len(manifest.tables)} tables restored, as they were at {manifest.made_at.isoformat()}")
    if exact and settings.kms_url is None and not master_key_path(settings).exists():
        print(f"Now put the farm's master key at {master_key_path(settings)} (mode 0600), then start the farm.")
        return
    farm = open_farm(into)  # fails when it is not the key of this database
    try:
        if not exact:
            with farm.database.write_as_system() as session:
                make_safe(session, farm, this_person(), f"from the backup of {manifest.made_at.isoformat()}")
            print(
                "Nodes get everything anew at their next sync, and nothing that does not run already is started before "
                "all of them have reported: see `mt5farm nodes list`. Everybody has to sign in again, and keys for "
                "programs are revoked."
            )
    finally:
        farm.stop()
