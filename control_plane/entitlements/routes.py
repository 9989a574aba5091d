"""HTTP of plans."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.entitlements.plans import BASIC_STRATEGIES, CATALOGUE, Plan
from control_plane.entitlements.schemas import PlanList, PlanRightsOut
from control_plane.http import CallerDep
from control_plane.problems import problem_responses

router = APIRouter(tags=["plans"], route_class=ApiRoute)


@router.get("/plans", responses=problem_responses(401))
def list_plans(caller: CallerDep) -> PlanList:
    """What each plan allows, and which is yours."""
    plans = [
        PlanRightsOut(
            plan=plan,
            symbols_per_account=held.max_symbols,
            auto_trading=held.auto_trading,
            all_indicators=held.indicators,
            learning_strategies=held.ai,
            custom_strategies=held.custom,
            programs=held.programs,
        )
        for plan, held in CATALOGUE.items()
    ]
    yours = None if caller.user.plan is None else Plan(caller.user.plan)
    return PlanList(yours=yours, plans=plans, basic_strategies=sorted(BASIC_STRATEGIES))
