"""Bodies of strategies that users bring."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, StringConstraints, model_validator

ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Number = Annotated[bool | int | float, Field(allow_inf_nan=False)]


class CustomParameter(BaseModel):
    """One setting that a strategy declares. What it says of itself is not trusted."""

    model_config = ConfigDict(extra="forbid")

    name: ParameterName
    title: Annotated[str, StringConstraints(max_length=500)]
    help: Annotated[str, StringConstraints(max_length=500)]
    type: Literal["int", "float", "bool"]
    default: Number
    minimum: Number | None = None
    maximum: Number | None = None


class Declaration(BaseModel):
    """What the look at an upload found."""

    kind: Literal["strategy", "script"]
    title: Annotated[str, StringConstraints(max_length=500)]
    help: Annotated[str, StringConstraints(max_length=500)]
    parameters: Annotated[list[CustomParameter], Field(max_length=50)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Declaration:
        names = [each.name for each in self.parameters]
        if len(set(names)) != len(names):
            raise ValueError("two parameters have the same name")
        return self


class UploadVersion(BaseModel):
    file_name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    content: Annotated[Base64Bytes, Field(max_length=3_000_000)]
    """The file in base64: a Python file, or a zip of Python files; 2 MB at most."""
    notes: Annotated[str, StringConstraints(max_length=1000)] = ""


class UploadStrategy(UploadVersion):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class VersionBot(BaseModel):
    id: str
    name: str


class StrategyVersionOut(BaseModel):
    id: str
    """What a bot is set to, as its `strategy`."""
    number: int
    sha256: str
    size: int
    kind: Literal["strategy", "script"]
    title: str
    description: str
    parameters: list[CustomParameter]
    notes: str
    created_at: datetime
    bots: list[VersionBot]
    """Those that are set to it."""


class CustomStrategyOut(BaseModel):
    id: str
    name: str
    created_at: datetime
    versions: list[StrategyVersionOut]
    """Newest first."""
