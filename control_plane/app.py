"""The web applications of the control plane: portal with REST API, agent API, and one for who runs them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute

from control_plane import problems
from control_plane.access.routes import router as access_router
from control_plane.access.screen_routes import router as screen_router
from control_plane.accounts.routes import router as accounts_router
from control_plane.agent_api.exchanges import add_exchanges
from control_plane.agent_api.routes import router as agent_router
from control_plane.alerts.routes import router as alerts_router
from control_plane.api_route import ApiRoute
from control_plane.backtests.routes import router as backtests_router
from control_plane.bots.routes import router as bots_router
from control_plane.brokers import repository as brokers_repository
from control_plane.brokers.routes import keeper_router
from control_plane.brokers.routes import router as brokers_router
from control_plane.container import Farm
from control_plane.contract import completed
from control_plane.copying.routes import router as copying_router
from control_plane.entitlements.routes import router as plans_router
from control_plane.fleet.routes import router as fleet_router
from control_plane.http import FarmDep, bound_strangers
from control_plane.identity.api_key_routes import router as api_key_router
from control_plane.identity.email_routes import router as email_router
from control_plane.identity.passkey_routes import router as passkey_router
from control_plane.identity.routes import me_router
from control_plane.identity.routes import router as identity_router
from control_plane.identity.second_factor_routes import router as second_factor_router
from control_plane.identity.session_routes import router as session_router
from control_plane.invitations.routes import accept_router
from control_plane.invitations.routes import router as invitations_router
from control_plane.jobs.routes import router as jobs_router
from control_plane.limits.headers import RateLimitHeaders
from control_plane.members.routes import router as members_router
from control_plane.middleware import BodyLimit, BrowserSecurity, ForgeryGuard, RequestLog
from control_plane.notifications.routes import router as recorded_mail_router
from control_plane.placement.routes import router as placement_router
from control_plane.risk.routes import router as risk_router
from control_plane.risk.routes import stop_router
from control_plane.service_accounts.routes import router as service_accounts_router
from control_plane.spa import portal_router
from control_plane.strategies.routes import router as strategies_router
from control_plane.stream.routes import router as stream_router
from control_plane.telemetry.counting import RequestCount
from control_plane.telemetry.routes import health_router, operations_router
from control_plane.terminals.routes import router as terminals_router
from control_plane.trading.book_routes import router as book_router
from control_plane.trading.export_routes import router as export_router
from control_plane.trading.order_routes import router as orders_router
from control_plane.trading.routes import router as trading_router
from control_plane.trading.statistics_routes import router as statistics_router
from node_agent.protocol.messages import BUNDLE_BYTES

API = "/api/v1"
VERSION = version("mt5farm")
_MOST_BYTES = 256 * 1024
_MOST_BYTES_OF_UPLOADS = 3_000_000
"""Of a user's own strategy, in base64."""
_AGENT_THREADS = 40
_MOST_BYTES_OF_AGENTS = BUNDLE_BYTES + 1024
"""A bundle of logs, a batch of events, or a report of all terminals of a node."""


class FarmOut(BaseModel):
    name: str
    version: str
    simulated: bool
    """True when no real broker can be reached: all servers of the directory are simulated."""
    shows_mail: bool
    """True when mail is not sent but shown in the portal: the farm is being tried out on one machine."""
    passkey_domain: str | None
    """Passkeys work where the portal's host is this or ends with a dot and this; None when they do nowhere."""


farm_router = APIRouter(tags=["farm"], route_class=ApiRoute)


@farm_router.get("/farm")
def get_farm(farm: FarmDep) -> FarmOut:
    """What this farm is; needs no sign-in."""
    with farm.database.read_as_system() as session:
        servers = brokers_repository.search(session, "", 1000)
    simulated = bool(servers) and all(each.simulated_address is not None for each in servers)
    return FarmOut(
        name=farm.settings.farm_name,
        version=VERSION,
        simulated=simulated,
        shows_mail=farm.settings.show_mail,
        passkey_domain=farm.passkeys.domain,
    )


_API_ROUTERS = (
    farm_router,
    identity_router,
    me_router,
    session_router,
    second_factor_router,
    passkey_router,
    email_router,
    accept_router,
    api_key_router,
    recorded_mail_router,
    brokers_router,
    keeper_router,
    accounts_router,
    access_router,
    orders_router,
    trading_router,
    risk_router,
    stop_router,
    book_router,
    statistics_router,
    export_router,
    bots_router,
    backtests_router,
    strategies_router,
    alerts_router,
    copying_router,
    stream_router,
    fleet_router,
    placement_router,
    terminals_router,
    invitations_router,  # before its folder, whose ids would take its name for one of theirs
    members_router,
    plans_router,
    service_accounts_router,
    jobs_router,
)


def create_app(farm: Farm) -> FastAPI:
    """Portal and REST API."""
    app = _application("MT5 Farm", openapi_url=f"{API}/openapi.json")
    app.state.farm = farm
    app.router.routes.extend(sorted(_api_routes(), key=_is_of_orders, reverse=True))
    app.include_router(screen_router, prefix=API)
    app.include_router(health_router)
    app.include_router(portal_router(farm.settings.portal_dist))
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(BodyLimit, most_bytes=_MOST_BYTES, larger={f"{API}/custom-strategies": _MOST_BYTES_OF_UPLOADS})
    app.add_middleware(ForgeryGuard)
    app.add_middleware(BrowserSecurity)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestCount, metrics=farm.metrics, name="portal", prefix=API)
    return app


def create_agent_app(farm: Farm) -> FastAPI:
    """The agent API."""
    app = _application("MT5 Farm agent API", openapi_url=None)
    app.state.farm = farm
    # Questions of the portal to terminals that do not answer may hold all other threads; syncs must not wait for them.
    app.state.threads = CapacityLimiter(_AGENT_THREADS)
    add_exchanges(app, farm, app.state.threads)
    app.include_router(agent_router)
    app.include_router(health_router)
    app.add_middleware(BodyLimit, most_bytes=_MOST_BYTES_OF_AGENTS)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestCount, metrics=farm.metrics, name="agents")
    return app


def create_operations_app(farm: Farm) -> FastAPI:
    """Health with reasons, and metrics; for those who run the farm, on an address of its own."""
    app = _application("MT5 Farm operations", openapi_url=None)
    app.state.farm = farm
    app.include_router(operations_router)
    return app


def openapi_document() -> dict[str, Any]:
    """The contract of the REST API, without a running farm."""
    app = _application("MT5 Farm", openapi_url=None)
    app.router.routes.extend(_api_routes())
    return app.openapi()


def _is_of_orders(route: BaseRoute) -> bool:
    """Looked through first, since orders are waited for most; their addresses are nobody else's."""
    return getattr(route, "original_router", None) is orders_router


@cache
def _api_routes() -> Sequence[BaseRoute]:
    """The same for all farms of a process: they ask the application for theirs, and analysing 200 routes takes long."""
    app = _application("MT5 Farm", openapi_url=None)
    own = len(app.routes)
    for router in _API_ROUTERS:
        for route in router.routes:
            if not isinstance(route, ApiRoute):
                raise TypeError(f"{route}: routers of the contract are made with route_class=ApiRoute")
        app.include_router(router, prefix=API, dependencies=[Depends(bound_strangers)])
    return app.routes[own:]


def _application(title: str, openapi_url: str | None) -> FastAPI:
    app = FastAPI(
        title=title,
        version=VERSION,
        openapi_url=openapi_url,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        default_response_class=JSONResponse,
    )
    problems.install(app)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = completed(get_openapi(title=app.title, version=app.version, routes=app.routes))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def _operation_id(route: APIRoute) -> str:
    """The function's own name, which is a verb and a noun."""
    return route.name
