"""What a planted bug is: one function or method of the farm replaced by a variant that a tired person could write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

Patch = tuple[object, str, Callable[[Any], Any]]
"""Whose attribute, its name, and what makes the buggy one of the right one."""


@dataclass(frozen=True)
class Mutant:
    """`storm` names the faults that its seeds bring; empty for those that each seed draws."""

    name: str
    patches: tuple[Patch, ...]
    storm: tuple[str, ...] = ()


def always(value: Any) -> Callable[[Any], Any]:
    """Instead of any judgement."""
    return lambda _right: lambda *_args, **_kwargs: value


def constant(value: Any) -> Callable[[Any], Any]:
    """Instead of another constant."""
    return lambda _right: value


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The farm has this bug inside the block."""
    with contextlib.ExitStack() as patches:
        for owner, name, make in mutant.patches:
            right = getattr(owner, name)
            plain = vars(owner).get(name) if isinstance(owner, type) else None
            wrong = make(right)
            patches.enter_context(
                mock.patch.object(owner, name, staticmethod(wrong) if isinstance(plain, staticmethod) else wrong)
            )
        yield
