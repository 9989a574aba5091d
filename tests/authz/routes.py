"""Every route that the three applications have, also those outside of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from control_plane.app import create_agent_app, create_app, create_operations_app
from control_plane.container import Farm


def all_calls(farm: Farm) -> set[str]:
    """As the matrix names them."""
    agents = set(_calls(create_agent_app(farm).routes, "agent "))
    # The contract itself and the signs of life are the same at both of these addresses.
    own = {each for each in agents if each.split(" ")[-1].startswith("/agent/")}
    shared = {each.removeprefix("agent ") for each in agents - own}
    portal, operations = _calls(create_app(farm).routes, ""), _calls(create_operations_app(farm).routes, "operations ")
    return {*portal, *own, *shared, *operations}


def _calls(routes: Iterable[Any], prefix: str) -> Iterator[str]:
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        for each in [route] if included is None else included():
            # Of a WebSocket, which has no methods, an included router knows the path in one place only.
            path = each.path or each.starlette_route.path
            yield from (f"{prefix}{method} {path}" for method in getattr(each, "methods", None) or {"WS"})
