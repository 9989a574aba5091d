"""What listeners make of the bus; the bus itself is tested with the other one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from control_plane.accounts.repository import views
from control_plane.accounts.service import present_account
from control_plane.app import create_app
from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Batch, Change, Topic
from control_plane.errors import RateLimitedError
from control_plane.identity.owner import Owner
from control_plane.stream.frames import frame
from control_plane.stream.service import Wish
from node_agent.protocol.messages import WATCH_PATH
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world, deal_body, event

PATIENCE = 5.0


def test_nothing_is_heard_after_the_time_out() -> None:
    async def listen() -> Batch | None:
        return await MemoryBus().subscribe("u1").next(0.01)

    batch = asyncio.run(listen())
    assert batch is not None
    assert (batch.changes, batch.gap) == ((), False)


def named(frame: str) -> str:
    """The event of a frame; what has no name says only how to reconnect."""
    return frame.removeprefix("event: ").partition("\n")[0] if frame.startswith("event: ") else ""


def position(frame: str) -> str:
    return frame.partition("id: ")[2].partition("\n")[0]


async def single(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Frame by frame, however many come in one piece."""
    async for piece in pieces:
        for each in piece.removesuffix("\n\n").split("\n\n"):
            yield f"{each}\n\n"


async def yes() -> bool:
    return True


class TestLiveUpdates:
    async def frames(self, world: World, owner: Owner, act: object, count: int) -> list[str]:
        stream = single(world.farm.live.events(owner, None, yes))
        assert [named(await anext(stream)) for _ in range(2)] == ["", "heartbeat"]
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
        assert named(frame) == "deal"
        assert position(frame)
        assert frame.endswith("}\n\n")
        assert f'"account_id":"{account}"' in frame
        assert '"ticket":7' in frame
        assert other_account not in frame

    def test_a_phase_is_told_as_the_whole_account(self, world: World, trader: Trader) -> None:
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (frame,) = asyncio.run(self.frames(world, owner, trader.connect, 1))
        assert named(frame) == "account"
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
            stream = world.farm.live.events(owner, None, signed_out)
            seen = [await anext(stream), await anext(stream)]
            world.clock.advance(seconds=16)
            await asyncio.to_thread(trader.connect)
            async with asyncio.timeout(PATIENCE):
                return seen + [frame async for frame in stream]

        assert [named(frame) for frame in asyncio.run(listen())] == ["", "heartbeat"]

    def test_the_stream_ends_with_the_session_or_the_farm(self, world: World, trader: Trader) -> None:
        owner = Owner(trader.user["tenant_id"], trader.user["id"])

        async def listen() -> list[str]:
            stream = single(world.farm.live.events(owner, None, yes))
            seen = [await anext(stream), await anext(stream)]
            world.farm.bus.close()
            async with asyncio.timeout(PATIENCE):
                return seen + [frame async for frame in stream]

        assert [named(frame) for frame in asyncio.run(listen())] == ["", "heartbeat"]


class TestComingBack:
    async def first(self, world: World, owner: Owner, after: str | None, count: int) -> list[str]:
        stream = single(world.farm.live.events(owner, after, yes))
        async with asyncio.timeout(PATIENCE):
            return [frame for frame in [await anext(stream) for _ in range(count + 1)] if named(frame)]

    def test_tells_what_was_missed_and_then_that_all_is_told(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (before,) = asyncio.run(self.first(world, owner, None, 1))
        node.deliver(event(wanted, "d", deal_body(7)))
        node.deliver(event(wanted, "e", deal_body(8)))
        *missed, last = asyncio.run(self.first(world, owner, position(before), 3))
        assert ([named(each) for each in missed], named(last)) == (["deal", "deal"], "heartbeat")
        (nothing,) = asyncio.run(self.first(world, owner, position(last), 1))
        assert named(nothing) == "heartbeat"

    def test_from_a_place_in_between_tells_the_rest(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        (before,) = asyncio.run(self.first(world, owner, None, 1))
        node.deliver(event(wanted, "d", deal_body(7)))
        node.deliver(event(wanted, "e", deal_body(8)))
        one = asyncio.run(self.first(world, owner, position(before), 1))
        rest = asyncio.run(self.first(world, owner, position(one[0]), 2))
        assert [named(each) for each in rest] == ["deal", "heartbeat"]
        assert '"ticket":8' in rest[0]

    def test_from_an_unknown_place_has_everything_read_anew(self, world: World, trader: Trader) -> None:
        """As after a restart of the farm."""
        owner = Owner(trader.user["tenant_id"], trader.user["id"])
        reset, heartbeat = asyncio.run(self.first(world, owner, "of another life", 2))
        assert (named(reset), named(heartbeat)) == ("reset", "heartbeat")
        assert position(reset) == position(heartbeat)

    def test_never_tells_what_is_another_users(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        other = world.trader("other@example.com")
        stranger = Owner(other.user["tenant_id"], other.user["id"])
        (before,) = asyncio.run(self.first(world, stranger, None, 1))
        node.deliver(event(wanted, "d", deal_body(7)))
        (after,) = asyncio.run(self.first(world, stranger, position(before), 1))
        assert named(after) == "heartbeat"


class TestPlaces:
    def test_of_a_user_are_bound_and_given_back(self, tmp_path: Path) -> None:
        world = build_world(tmp_path, streams_of_user=2, streams_of_tenant=3)
        places, one, other = world.farm.live.places, Owner("t", "one"), Owner("t", "other")
        places.take(one)
        places.take(one)
        with pytest.raises(RateLimitedError, match="close other windows") as refused:
            places.take(one)
        assert refused.value.retry_after == 15
        places.take(other)
        with pytest.raises(RateLimitedError, match="organisation"):
            places.take(other)
        places.leave(one)
        places.take(other)
        assert places.taken == 3

    def test_a_stream_gives_its_place_back_when_its_browser_goes(self, world: World, trader: Trader) -> None:
        async def browse() -> int:
            app = create_app(world.farm)
            cookie = f"mt5farm_session={trader.http.cookies['mt5farm_session']}"
            asked, gone, sent = asyncio.Event(), asyncio.Event(), []

            async def receive() -> Message:
                if not asked.is_set():
                    asked.set()
                    return {"type": "http.request", "body": b"", "more_body": False}
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)
                if b"heartbeat" in message.get("body", b""):
                    gone.set()

            scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/api/v1/stream", "query_string": b""}
            scope["client"] = ("127.0.0.1", 50_000)
            scope |= {"headers": [(b"cookie", cookie.encode())], "asgi": {"version": "3.0", "spec_version": "2.3"}}
            async with asyncio.timeout(PATIENCE):
                await app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send)
            assert sent[0]["status"] == 200
            return world.farm.live.places.taken

        assert asyncio.run(browse()) == 0


def test_a_watch_answers_as_soon_as_the_generation_rises(world: World, trader: Trader, node: NodePlayer) -> None:
    node.sync()

    async def watch() -> int:
        signature = node.sign("GET", WATCH_PATH, b"")
        listening = asyncio.Event()

        async def authenticated() -> int:
            (found,) = await asyncio.to_thread(world.farm.agent_api.signed_watches, WATCH_PATH, [signature])
            assert isinstance(found, int)
            listening.set()
            return found

        async def newest(node_id: str) -> int:
            return (await asyncio.to_thread(world.farm.agent_api.generations, [node_id]))[0]

        waiting = asyncio.create_task(world.farm.agent_api.watch(node.node_id, node.generation, authenticated, newest))
        await listening.wait()

        def deploy() -> None:
            trader.connect()
            world.run_loops()

        await asyncio.to_thread(deploy)
        async with asyncio.timeout(PATIENCE):
            return await waiting

    assert asyncio.run(watch()) > node.generation


@pytest.mark.both_databases
class TestReadTogether:
    def test_each_stream_of_a_tenant_is_told_of_its_own_accounts_as_the_list_shows_them(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        world.ready_account(trader, node)
        waiting = trader.connect(5003)["id"]
        other = world.trader("other@example.com")
        world.ready_account(other, node, 5002)
        owners = [Owner(each.user["tenant_id"], each.user["id"]) for each in (trader, other)]
        with world.farm.database.read(owners[0].tenant_id) as session:
            shown = {
                owner.user_id: {
                    view.account.id: present_account(view, world.clock.now()).model_dump_json()
                    for view in views(session, owner, None, 100)
                }
                for owner in owners
            }
        assert len(shown[owners[0].user_id]) == 2
        assert waiting in shown[owners[0].user_id]
        everything = [account_id for own in shown.values() for account_id in own]
        changes = tuple(
            (f"p{number}", Change(Topic.ACCOUNT, account_id, "", account_id))
            for number, account_id in enumerate([*everything, "acc_unknown"])
        )
        wishes = [Wish(owner, changes) for owner in (*owners, owners[0])]
        told = world.farm.live.read(owners[0].tenant_id, wishes)
        for owner, text in zip((*owners, owners[0]), told, strict=True):
            expected = [
                frame("account", position, shown[owner.user_id][change.subject_id])
                for position, change in changes
                if change.subject_id in shown[owner.user_id]
            ]
            assert text == "".join(expected)
