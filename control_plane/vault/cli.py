"""`mt5farm vault ...`: replace master keys and data keys while the farm runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from control_plane.audit.service import Deed
from control_plane.container import Farm
from control_plane.fleet.commands import this_person
from control_plane.opening import Data, open_farm
from control_plane.vault.rotation import Outcome

vault = typer.Typer(help="The keys that keep broker passwords.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")]


@vault.command("status")
def show_status(data: Data) -> None:
    """Which keys are in use, and how much is still sealed with older ones."""
    farm = open_farm(data)
    _print_status(farm)
    farm.stop()


@vault.command("rotate-master")
def rotate_master(data: Data, reason: Reason) -> None:
    """Make a new master key and wrap everything with it. Interrupted, `resume` goes on."""
    farm = open_farm(data)
    made = farm.rotation.start_master_rotation()
    _record(farm, "rotate_master_key", made, reason)
    _finish(farm)


@vault.command("rotate-data-keys")
def rotate_data_keys(data: Data, reason: Reason) -> None:
    """Give every tenant a new data key and seal all passwords with it. Interrupted, `resume` goes on."""
    farm = open_farm(data)
    tenants = farm.rotation.start_data_key_rotation()
    _record(farm, "rotate_data_keys", f"{tenants} tenants", reason)
    _finish(farm)


@vault.command("resume")
def resume(data: Data) -> None:
    """Go on with a rotation that was interrupted. With nothing left to do it does nothing."""
    _finish(open_farm(data))


@vault.command("retire-masters")
def retire_masters(data: Data, reason: Reason) -> None:
    """Hold those master keys no longer that wrap nothing. Backups of the database from their time still need them."""
    farm = open_farm(data)
    left = farm.rotation.retire_masters()
    _record(farm, "retire_master_keys", ", ".join(left) or "none left", reason)
    if left:
        print("still in use: " + ", ".join(each or "unknown" for each in left) + "; run: mt5farm vault resume")
    farm.stop()
    if left:
        raise typer.Exit(1)


def _finish(farm: Farm) -> None:
    """Rewrap and reseal whatever is left, with a bar, and say how it ended."""
    before = farm.rotation.progress()
    wraps = sum(count for master, count in before.wrapped_by_master.items() if master != before.newest_master)
    with Bar(console=Console(stderr=True)) as bar:
        wrapping = bar.add_task("wrapping keys", total=wraps)
        outcome = farm.rotation.rewrap(lambda count: bar.advance(wrapping, count))
        sealing = bar.add_task("sealing passwords", total=before.sealed_with_older_keys)
        outcome += farm.rotation.reseal(lambda count: bar.advance(sealing, count))
    _print_status(farm)
    farm.stop()
    _say(outcome)


def _say(outcome: Outcome) -> None:
    print(f"{outcome.done} done")
    if outcome.broken:
        print(f"{outcome.broken} rows cannot be opened and were left as they are; the log names them")
        raise typer.Exit(1)


def _print_status(farm: Farm) -> None:
    progress = farm.rotation.progress()
    print(f"newest master key     {progress.newest_master}")
    for master, count in sorted(progress.wrapped_by_master.items()):
        print(f"  {master or 'unknown':<20}wraps {count} keys")
    print(f"passwords             {progress.credentials}, of them under older keys {progress.sealed_with_older_keys}")


def _record(farm: Farm, action: str, subject: str, reason: str) -> None:
    with farm.database.write_as_system() as session:
        tenant = farm.identity.bootstrap(session)
        farm.audit.record(session, tenant.id, Deed(this_person(), action, subject[:40], reason))
