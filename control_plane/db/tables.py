"""Imports every table, so that the metadata is whole for migrations."""

from __future__ import annotations

from control_plane.access import model as access
from control_plane.accounts import model as accounts
from control_plane.alerts import model as alerts
from control_plane.assignments import model as assignments
from control_plane.audit import model as audit
from control_plane.backtests import model as backtests
from control_plane.bots import model as bots
from control_plane.brokers import model as brokers
from control_plane.copying import model as copying
from control_plane.db.base import Base
from control_plane.fleet import model as fleet
from control_plane.idempotency import model as idempotency
from control_plane.identity import model as identity
from control_plane.invitations import model as invitations
from control_plane.jobs import model as jobs
from control_plane.limits import model as limits
from control_plane.notifications import model as notifications
from control_plane.placement import model as placement
from control_plane.releases import model as releases
from control_plane.risk import model as risk
from control_plane.strategies import model as strategies
from control_plane.terminals import model as terminals
from control_plane.trading import model as trading
from control_plane.vault import model as vault

MODULES = (
    access,
    accounts,
    alerts,
    assignments,
    audit,
    backtests,
    bots,
    brokers,
    copying,
    fleet,
    idempotency,
    identity,
    invitations,
    jobs,
    limits,
    notifications,
    placement,
    releases,
    risk,
    strategies,
    terminals,
    trading,
    vault,
)
METADATA = Base.metadata
