"""A farm of two tenants: somebody of the operator and somebody of a broker, each with one of everything."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import update

from control_plane.identity.model import KnownDevice, Tenant, User, UserSession
from control_plane.ids import new_id
from control_plane.placement.model import TenantPlacement
from tests.unit.control_plane.world import (
    START,
    NodePlayer,
    Trader,
    World,
    compare_books,
    deal_body,
    event,
    history_order_body,
    observed,
    observed_bot,
    positions_body,
    snapshot,
)

BACKTEST = {"strategy": "moving_average_cross", "symbol": "EURUSD", "timeframe": "M5", "bars": 200, "volume": 0.1}
BOT = {"name": "Cross", "strategy": "moving_average_cross", "symbol": "EURUSD", "timeframe": "M1", "volume": 0.1}
ORDER = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}


@dataclass(frozen=True)
class Member:
    """A trader of a tenant, with what is theirs."""

    trader: Trader
    tenant_id: str
    account_id: str
    bot_id: str

    @property
    def user_id(self) -> str:
        user_id: str = self.trader.user["id"]
        return user_id


def add_tenant(world: World, name: str) -> str:
    """A broker that rents capacity; its id."""
    with world.farm.database.write_as_system() as session:
        tenant = Tenant(id=new_id("ten"), kind="broker", name=name, created_at=START)
        session.add(tenant)
        return tenant.id


def move_user(world: World, user_id: str, tenant_id: str) -> None:
    """Somebody who owns nothing yet, not even a second factor, becomes one of this tenant's people."""
    with world.farm.database.write_as_system() as session:
        session.execute(update(User).where(User.id == user_id).values(tenant_id=tenant_id))
        for model in (UserSession, KnownDevice):
            session.execute(update(model).where(model.user_id == user_id).values(tenant_id=tenant_id))


def two_tenants(world: World) -> tuple[Member, Member]:
    """The operator's and the broker's; one node holds the terminals of both."""
    node = world.node()
    operators, brokers = world.trader("one@operator.example"), world.trader("one@broker.example")
    broker_id = add_tenant(world, "broker")
    move_user(world, brokers.user["id"], broker_id)
    with world.farm.database.write_as_system() as session:
        for tenant_id in (operators.user["tenant_id"], broker_id):
            session.add(TenantPlacement(tenant_id=tenant_id, pool="", only_dedicated=False))
    first = _member(world, node, operators, operators.user["tenant_id"], 6001)
    return first, _member(world, node, brokers, broker_id, 6002)


def _member(world: World, node: NodePlayer, trader: Trader, tenant_id: str, login: int) -> Member:
    trader.enrol_second_factor()
    trader.call("POST", "/auth/api-keys", 201, {"name": "Script", "scopes": ["read"]})
    account = trader.connect(login)["id"]
    bot = trader.call("POST", "/bots", 201, {**BOT, "account_id": account}, key=f"bot of {login}")["id"]
    world.run_loops()
    wanted = next(each for each in node.fetch().terminals if each.account_id == account)
    node.sync(observed(wanted, account=snapshot(login), bots=[observed_bot(bot, 1)]))
    edited = deal_body(login, swap=-1.0)
    node.deliver(event(wanted, f"evt_{login}", deal_body(login)), event(wanted, f"evt_{login}_2", edited))
    node.deliver(
        event(wanted, f"evt_{login}_3", history_order_body(login)), event(wanted, f"evt_{login}_4", positions_body())
    )
    compare_books(world, wanted)
    trader.call("POST", f"/accounts/{account}/orders", 201, ORDER, key=f"order of {login}")
    trader.call("DELETE", f"/accounts/{account}/tickets/tik_00000000000000000000000000", 204)
    return Member(trader, tenant_id, account, bot)


def use_the_rest(member: Member) -> None:
    """What a trader has beside an account with a bot, its orders and deals."""
    account, call = {"account_id": member.account_id}, member.trader.call
    call("PUT", f"/accounts/{member.account_id}/guard", 200, {"limits": {"max_positions": 3}})
    call("POST", f"/accounts/{member.account_id}/kill", 202, {"mode": "no_new_orders"})
    call("POST", "/alerts/thresholds", 201, {**account, "kind": "equity_below", "value": "1"})
    call("PUT", "/alerts/settings", 200, call("GET", "/alerts/settings"))
    call("POST", "/webhooks", 201, {"url": "https://example.com/hook"})
    call("POST", "/copy-invitations", 201, account)
    call("POST", "/backtests", 202, {**BACKTEST, **account})
    call("PATCH", f"/bots/{member.bot_id}", 200, {"volume": 0.2})
