"""What listeners make of the bus; the bus itself is tested with the other one."""

from __future__ import annotations

import asyncio

from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Change
from control_plane.identity.owner import Owner
from tests.unit.control_plane.world import NodePlayer, Trader, World, deal_body, event

PATIENCE = 5.0


def test_nothing_is_heard_after_the_time_out() -> None:
    async def listen() -> list[Change] | None:
        return await MemoryBus().subscribe(lambda _: True).next(0.01)

    assert asyncio.run(listen()) == []


class TestLiveUpdates:
    async def frames(self, world: World, owner: Owner, act: object, count: int) -> list[str]:
        async def allowed() -> bool:
            return True

        stream = world.farm.live.events(owner, allowed)
        assert await anext(stream) == ": heartbeat\n\n"
        await asyncio.to_thread(act)  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            return [await anext(stream) for _ in range(count)]

    def test_a_deal_is_told_to_the_owner_alone(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        other = world.trader("other@example.com")
        other_account, other_wanted = world.ready_account(other, node, 5002)

        def trade() -> None:
            node.deliver(event(other_wanted, "o", deal_body(8)), event(wanted, "d", deal_body(7)))

        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (frame,) = asyncio.run(self.frames(world, owner, trade, 1))
        assert frame.startswith("event: deal\ndata: {")
        assert frame.endswith("}\n\n")
        assert f'"account_id":"{account}"' in frame
        assert '"ticket":7' in frame
        assert other_account not in frame

    def test_a_phase_is_told_as_the_whole_account(self, world: World, trader: Trader) -> None:
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (frame,) = asyncio.run(self.frames(world, owner, trader.connect, 1))
        assert frame.startswith("event: account\n")
        assert '"explanation":"Waiting' in frame

    def test_a_silent_node_that_is_heard_again_is_told(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        world.let_pass(50)
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (frame,) = asyncio.run(self.frames(world, owner, lambda: node.make_ready(wanted), 1))
        assert "Connected and ready" in frame

    def test_a_busy_stream_ends_with_the_session_as_well(self, world: World, trader: Trader) -> None:
        owner = Owner(trader.user["tenant_id"], trader.user["id"])

        async def signed_out() -> bool:
            return False

        async def listen() -> list[str]:
            stream = world.farm.live.events(owner, signed_out)
            seen = [await anext(stream)]
            world.clock.advance(seconds=16)
            await asyncio.to_thread(trader.connect)
            async with asyncio.timeout(PATIENCE):
                return seen + [frame async for frame in stream]

        assert asyncio.run(listen()) == [": heartbeat\n\n"]

    def test_the_stream_ends_with_the_session_or_the_farm(self, world: World, trader: Trader) -> None:
        owner = Owner(trader.user["tenant_id"], trader.user["id"])

        async def allowed() -> bool:
            return True

        async def listen() -> list[str]:
            stream = world.farm.live.events(owner, allowed)
            seen = [await anext(stream)]
            world.farm.bus.close()
            async with asyncio.timeout(PATIENCE):
                return seen + [frame async for frame in stream]

        assert asyncio.run(listen()) == [": heartbeat\n\n"]


def test_a_watch_answers_as_soon_as_the_generation_rises(world: World, trader: Trader, node: NodePlayer) -> None:
    node.sync()

    async def watch() -> int:
        found = await asyncio.to_thread(
            world.farm.agent_api.authenticate_watch, node.sign("GET", "/agent/v1/watch", b""), "/agent/v1/watch"
        )
        waiting = asyncio.create_task(world.farm.agent_api.watch(found, node.generation))

        def deploy() -> None:
            trader.connect()
            world.run_loops()

        await asyncio.to_thread(deploy)
        async with asyncio.timeout(PATIENCE):
            return (await waiting).generation

    assert asyncio.run(watch()) > node.generation
