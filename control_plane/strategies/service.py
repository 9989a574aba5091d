"""Take in what users bring, keep it in versions, hand it to the nodes that run it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    invalid_field,
)
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.storage.port import Files
from control_plane.strategies import repository
from control_plane.strategies.model import CustomStrategy, StrategyVersion
from control_plane.strategies.schemas import (
    CustomParameter,
    CustomStrategyOut,
    Declaration,
    StrategyVersionOut,
    UploadVersion,
    VersionBot,
)
from mt5_bridge.sandbox.availability import NoSandboxError
from mt5_bridge.sandbox.inspection import Finding, inspect_package
from mt5_bridge.sandbox.package import Package, PackageError, digest, read_upload
from mt5_bridge.strategies.base import Parameter, ParameterError

_FOLDER = "strategies"
_LOOKS_AT_A_TIME = 2
_MOST_STRATEGIES = 200
_MOST_VERSIONS = 100
_TYPES: Mapping[str, type[int] | type[float] | type[bool]] = {"int": int, "float": float, "bool": bool}


@dataclass(frozen=True)
class Checked:
    """An upload that can be kept."""

    packed: bytes
    entry: str
    declared: Declaration


class Strategies:
    """`inspect` runs what was brought in a sandbox, outside of any transaction."""

    def __init__(
        self, files: Files, audit: Audit, clock: Clock, inspect: Callable[[Package], Finding] = inspect_package
    ) -> None:
        self._files = files
        self._audit = audit
        self._clock = clock
        self._inspect = inspect
        self._places = threading.BoundedSemaphore(_LOOKS_AT_A_TIME)

    def check(self, upload: UploadVersion) -> Checked:
        """Blocks for some seconds. Raises InvalidInputError with the line to blame, UnavailableError."""
        try:
            package = read_upload(upload.file_name, upload.content)
        except PackageError as error:
            raise invalid_field("content", str(error), code="bad_package") from error
        if not self._places.acquire(timeout=5.0):
            raise UnavailableError("Other uploads are being checked; try again in a moment.", code="checks_busy")
        try:
            finding = self._inspect(package)
        except NoSandboxError as error:
            raise UnavailableError(str(error), code="no_sandbox") from error
        finally:
            self._places.release()
        if finding.declared is None:
            raise _refused(finding)
        try:
            declared = Declaration.model_validate(finding.declared)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise invalid_field("content", f"What it declares cannot be used: {place}: {first['msg']}.") from error
        return Checked(package.packed(), package.entry, declared)

    def create(self, session: Session, owner: Owner, name: str, checked: Checked, notes: str) -> str:
        """Gives the strategy's id. Raises ConflictError."""
        if repository.count(session, owner) >= _MOST_STRATEGIES:
            raise ConflictError(f"You have {_MOST_STRATEGIES} strategies; delete one first.", code="too_many")
        row = CustomStrategy(
            id=new_id("cst"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            name=name,
            created_at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        self._add(session, owner, row, 1, checked, notes)
        return row.id

    def add_version(self, session: Session, owner: Owner, strategy_id: str, checked: Checked, notes: str) -> None:
        """The same content as the newest version is no new one. Raises NotFoundError, ConflictError."""
        row = require_strategy(session, owner, strategy_id)
        known = repository.versions(session, owner.tenant_id, [row.id])
        if len(known) >= _MOST_VERSIONS:
            raise ConflictError(f"It has {_MOST_VERSIONS} versions; upload it as another one.", code="too_many")
        if not known or known[0].sha256 != digest(checked.packed):
            self._add(session, owner, row, known[0].number + 1 if known else 1, checked, notes)

    def delete(self, session: Session, owner: Owner, strategy_id: str) -> None:
        """Raises NotFoundError, and ConflictError while bots are set to it."""
        row = require_strategy(session, owner, strategy_id)
        versions = repository.versions(session, owner.tenant_id, [row.id])
        users = repository.users(session, owner.tenant_id, [each.id for each in versions])
        if users:
            names = ", ".join(sorted({each.bot_name for each in users})[:5])
            raise ConflictError(f"Bots are set to it: {names}. Delete or change them first.", code="strategy_in_use")
        repository.delete_strategy(session, row.id)
        for each in versions:
            if not repository.uses_of_bytes(session, owner.tenant_id, each.sha256):
                self._files.delete(_file(owner.tenant_id, each.sha256))
        self._audit.record(session, owner.tenant_id, Deed(owner.user_id, "delete_strategy", row.id, ""))

    def code_for_node(self, session: Session, node_id: str, sha256: str) -> bytes:
        """Raises NotFoundError for what no bot of this node runs."""
        row = repository.version_on_node(session, node_id, sha256)
        if row is None:
            raise NotFoundError("No bot of this node runs such code.", code="code_unknown")
        try:
            return self._files.read(_file(row.tenant_id, sha256))
        except FileNotFoundError as error:
            raise NotFoundError("The farm has lost this code; upload it again.", code="code_unknown") from error

    def _add(
        self, session: Session, owner: Owner, strategy: CustomStrategy, number: int, checked: Checked, notes: str
    ) -> None:
        sha256 = digest(checked.packed)
        # Under the digest of its own: a transaction that fails leaves bytes behind that harm nobody.
        self._files.put(_file(owner.tenant_id, sha256), checked.packed)
        declared = checked.declared
        version = StrategyVersion(
            id=new_id("ver"),
            tenant_id=owner.tenant_id,
            strategy_id=strategy.id,
            number=number,
            sha256=sha256,
            size=len(checked.packed),
            kind=declared.kind,
            entry=checked.entry,
            title=declared.title,
            description=declared.help,
            parameters=[each.model_dump() for each in declared.parameters],
            notes=notes,
            created_at=self._clock.now(),
        )
        session.add(version)
        session.flush()
        facts = {"version": version.id, "number": number, "sha256": sha256, "kind": declared.kind}
        self._audit.record(
            session, owner.tenant_id, Deed(owner.user_id, "upload_strategy", strategy.id, "", after=facts)
        )


def require_strategy(session: Session, owner: Owner, strategy_id: str) -> CustomStrategy:
    """Raises NotFoundError for a strategy that is not this user's."""
    row = repository.strategy(session, owner, strategy_id)
    if row is None:
        raise NotFoundError("There is no such strategy.", code="strategy_not_found")
    return row


def check_custom_parameters(version: StrategyVersion, values: Mapping[str, int | float]) -> dict[str, int | float]:
    """All parameters in their own types, with defaults; yes and no as 1 and 0.

    Raises InvalidInputError, naming each wrong one.
    """
    known = {each["name"]: _declared(each) for each in version.parameters}
    errors = [
        FieldError(f"parameters.{name}", f"The strategy has no parameter '{name}'.")
        for name in values
        if name not in known
    ]
    read: dict[str, int | float] = {}
    for name, parameter in known.items():
        try:
            value = values.get(name, parameter.default)
            if parameter.type is bool:
                value = bool(value) if value in {0, 1} else value
            read[name] = parameter.read(value)
            if parameter.type is bool:
                read[name] = int(read[name])
        except (ParameterError, OverflowError, ValueError) as error:
            errors.append(FieldError(f"parameters.{name}", f"{error}."))
    if errors:
        raise InvalidInputError(errors[0].message, code="invalid_parameters", errors=errors)
    return read


def present_strategies(session: Session, tenant_id: str, rows: list[CustomStrategy]) -> list[CustomStrategyOut]:
    versions = repository.versions(session, tenant_id, [row.id for row in rows])
    users = repository.users(session, tenant_id, [each.id for each in versions])
    return [
        CustomStrategyOut(
            id=row.id,
            name=row.name,
            created_at=row.created_at,
            versions=[_present(each, users) for each in versions if each.strategy_id == row.id],
        )
        for row in rows
    ]


def _present(version: StrategyVersion, users: list[repository.VersionUser]) -> StrategyVersionOut:
    return StrategyVersionOut(
        id=version.id,
        number=version.number,
        sha256=version.sha256,
        size=version.size,
        kind="script" if version.kind == "script" else "strategy",
        title=version.title,
        description=version.description,
        parameters=[CustomParameter.model_validate(each) for each in version.parameters],
        notes=version.notes,
        created_at=version.created_at,
        bots=[VersionBot(id=each.bot_id, name=each.bot_name) for each in users if each.version_id == version.id],
    )


def _declared(each: Mapping[str, object]) -> Parameter:
    return Parameter(**{**each, "type": _TYPES[str(each["type"])]})  # type: ignore[arg-type]  # checked at its upload


def _refused(finding: Finding) -> InvalidInputError:
    place = f"{finding.file}, line {finding.line}: " if finding.line else ""
    text = f"{place}{finding.message}"
    return InvalidInputError(text, code=f"strategy_{finding.code}"[:60], errors=[FieldError("content", text)])


def _file(tenant_id: str, sha256: str) -> str:
    return f"{_FOLDER}/{tenant_id}-{sha256}.zip"
