"""Health for load balancers, and the application for those who run the farm."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from control_plane.http import FarmDep
from control_plane.telemetry.metrics import CONTENT_TYPE

health_router = APIRouter(include_in_schema=False)
operations_router = APIRouter(include_in_schema=False)


@health_router.get("/healthz")
@operations_router.get("/healthz")
def check_health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@health_router.get("/readyz")
def check_readiness(farm: FarmDep) -> JSONResponse:
    """Whether to send anybody here. Everybody may ask, so what is wrong is not said."""
    return _answer(farm.readiness.verdict().ready)


@operations_router.get("/readyz")
def explain_readiness(farm: FarmDep) -> JSONResponse:
    """Whether to send anybody here, and what is wrong."""
    verdict = farm.readiness.verdict()
    return _answer(verdict.ready, problems=verdict.problems, warnings=verdict.warnings)


@operations_router.get("/metrics")
def show_metrics(farm: FarmDep) -> Response:
    return Response(farm.metrics.exposition(), media_type=CONTENT_TYPE)


def _answer(ready: bool, **more: Any) -> JSONResponse:
    return JSONResponse({"status": "ready" if ready else "not_ready", **more}, 200 if ready else 503)
