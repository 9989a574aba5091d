"""The client for asyncio: the same functions, awaited. Calls may overlap; they are answered in their order."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from mt5_bridge import transport
from mt5_bridge.addresses import parse_address
from mt5_bridge.arguments import SUCCESS, RejectedError, left_by, parse
from mt5_bridge.client import orders
from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.client.link import CONNECT_SECONDS, Endpoint, check_greeting, refusal, timeout_of
from mt5_bridge.client.terminal import MetaTrader5, journal_row
from mt5_bridge.client.ticks import as_cursors
from mt5_bridge.codec import CodecError
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, PACKAGE_AUTHOR, PACKAGE_VERSION, Style
from mt5_bridge.structs import STRUCT_CLASSES
from mt5_bridge.tick_stream import Cursor, Ticks, unpack_ticks

_AT_ONCE: Final = 64
"""Calls under way on one connection; more wait here."""
_STAGING: Final = 1 << 16
_LOCAL: Final = frozenset({"initialize", "login", "shutdown", "last_error"})

Frame = tuple[int, transport.Body]


class _Frames(asyncio.BufferedProtocol):
    """Reads the greeting's answer, then frames; rows of arrays go straight into their array."""

    def __init__(self) -> None:
        self.greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting: deque[asyncio.Future[Frame]] = deque()
        self.ticks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.transport: asyncio.Transport | None = None
        self._staging = bytearray(_STAGING)
        self._held = 0
        self._large: tuple[int, Any, memoryview] | None = None
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        if self._large is not None:
            return self._large[2][self._filled :]
        return memoryview(self._staging)[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._large is not None:
                self._fill(nbytes)
            else:
                self._held += nbytes
                self._take_all()
        except (ValueError, EOFError) as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or EOFError("connection closed by peer"))

    def _fill(self, nbytes: int) -> None:
        assert self._large is not None
        self._filled += nbytes
        kind, body, view = self._large
        if self._filled == len(view):
            self._large = None
            self._hand_over(kind, bytes(body) if isinstance(body, bytearray) else body)

    def _take_all(self) -> None:
        data, start = bytes(memoryview(self._staging)[: self._held]), 0
        if not self.greeting.done():
            start = data.find(b"\n") + 1
            if start:
                self.greeting.set_result(data[:start])
            elif len(data) >= _STAGING:
                raise ValueError("the greeting is too long")
            else:
                return
        while self._large is None and len(data) - start > transport.FRAME.size:
            end = self._take(data, start)
            if end is None:
                break
            start = end
        self._held = max(0, len(data) - start) if self._large is None else 0
        self._staging[: self._held] = data[start : start + self._held]

    def _take(self, data: bytes, start: int) -> int | None:
        """Hand over the frame at `start` and give where it ends, None when more has to come."""
        length, kind = transport.check_header(data, start)
        start += transport.FRAME.size
        end = start + length
        if kind == transport.ROWS:
            rows = transport.rows_for(data[start], length - 1)
            here = data[start + 1 : end]
            self._begin_large(kind, rows, transport.bytes_of(rows), here)
        elif end <= len(data):
            self._hand_over(kind, data[start:end])
        elif length + transport.FRAME.size > _STAGING:
            body = bytearray(length)
            self._begin_large(kind, body, memoryview(body), data[start:])
        else:
            return None
        return min(end, len(data))

    def _begin_large(self, kind: int, body: Any, view: memoryview, here: bytes) -> None:
        view[: len(here)] = here
        self._large, self._filled = (kind, body, view), len(here)
        self._fill(0)

    def _hand_over(self, kind: int, body: transport.Body) -> None:
        if kind == transport.ROWS:
            assert not isinstance(body, bytes)
            body.setflags(write=False)
        if kind == transport.TICKS:
            assert isinstance(body, bytes)
            self.ticks.put_nowait(body)
        elif self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_result((kind, body))

    def _end(self, error: Exception) -> None:
        if self.transport is not None:
            self.transport.abort()
        futures: list[asyncio.Future[Any]] = [self.greeting, *self.waiting]
        for future in futures:
            if not future.done():
                future.set_exception(BridgeLost(f"the connection to the terminal broke: {type(error).__name__}"))
                future.exception()  # whoever waits gets it; nobody has to
        self.waiting.clear()
        self.ticks.put_nowait(None)


class AsyncMetaTrader5:
    """One terminal of the farm; make it with `await AsyncMetaTrader5.connect(...)`, arguments as for MetaTrader5.

    `last_error()` is not awaited and tells of the call that was answered last. Raises as MetaTrader5 does.
    """

    __version__ = PACKAGE_VERSION
    __author__ = PACKAGE_AUTHOR

    if TYPE_CHECKING:  # the functions, constants and struct classes of the package, set below

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, frames: _Frames) -> None:
        self._frames = frames
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._error: tuple[int, str] = SUCCESS

    @classmethod
    async def connect(cls, address: str, **permission: Any) -> Self:
        """Connect and greet. Raises BridgeError when refused and BridgeLost when unreachable."""
        endpoint = Endpoint(address, **permission)
        frames = await _open(endpoint)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                assert frames.transport is not None
                frames.transport.write(endpoint.hello())
                check_greeting(await frames.greeting)
        except BaseException as error:
            if frames.transport is not None:
                frames.transport.abort()
            if isinstance(error, TimeoutError):
                raise BridgeLost(f"{address} did not answer the greeting") from error
            raise
        return cls(frames)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The terminal goes on running."""
        if self._frames.transport is not None:
            self._frames.transport.close()

    def last_error(self) -> tuple[int, str]:
        """Code and text of the call that was answered last."""
        return self._error

    async def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """True when the terminal is connected to its account now."""
        return await self._is_account("initialize", args, kwargs)

    async def login(self, *args: Any, **kwargs: Any) -> bool:
        """True for the terminal's own account; it cannot be switched to another one."""
        return await self._is_account("login", args, kwargs)

    async def shutdown(self) -> bool:
        """True. Closes the connection."""
        self.close()
        self._error = SUCCESS
        return True

    async def describe(self) -> dict[str, Any]:
        """The worker's account of itself."""
        return dict((await self._ask("farm.describe", (), {}, {}))[0])

    async def journal(self, after_sequence: int = 0, limit: int = 500) -> tuple[dict[str, Any], ...]:
        """Order intents that changed after `sequence`, oldest change first; see MetaTrader5.journal."""
        rows = (await self._ask("farm.journal", (after_sequence, limit), {}, {}))[0]
        return tuple(journal_row(pairs) for pairs in rows)

    async def outcome(self, client_order_id: str) -> dict[str, Any] | None:
        """The journal row of an order; None when the worker never had it, so it was never sent."""
        pairs = (await self._ask("farm.outcome", (client_order_id,), {}, {}))[0]
        return None if pairs is None else journal_row(pairs)

    async def give_up(self, client_order_id: str) -> dict[str, Any]:
        """The journal row of an order, which is not sent any more if it never was; see MetaTrader5.give_up."""
        return journal_row((await self._ask("farm.give_up", (client_order_id,), {}, {}))[0])

    async def send_once(self, client_order_id: str, request: Mapping[str, Any], trace: str = "") -> Any:
        """order_send under an id of your own; see MetaTrader5.send_once."""
        options = {"client_order_id": client_order_id} | ({"trace": trace} if trace else {})
        return await self._call("order_send", (dict(request),), {}, options)

    async def tick_stream(
        self, *symbols: str, cursors: Mapping[str, Any] | None = None
    ) -> AsyncIterator[tuple[str, Ticks, Cursor]]:
        """Ticks as they come: symbol, rows, and the cursor behind them. Raises BridgeLost when the link breaks."""
        known = as_cursors(cursors)
        for symbol in symbols:
            if (await self._ask("farm.subscribe", (symbol, *known.get(symbol, ())), {}, {}))[0] is None:
                raise BridgeError("no_such_symbol", f"{symbol[:31]} has no ticks in this terminal's Market Watch")
        try:
            while (body := await self._frames.ticks.get()) is not None:
                symbol, cursor, ticks = unpack_ticks(body)
                yield symbol, ticks, cursor
        finally:
            if self._frames.transport is not None and not self._frames.transport.is_closing():
                await self._ask("farm.unsubscribe", (), {}, {})
        raise BridgeLost("the connection to the terminal broke")

    async def Buy(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the package's name
        """Buy at the market; see the package."""
        return await asyncio.to_thread(_blocking(self).Buy, *args, **kwargs)

    async def Sell(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the package's name
        """Sell at the market; see the package."""
        return await asyncio.to_thread(_blocking(self).Sell, *args, **kwargs)

    async def Close(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the package's name
        """Close positions at the market; see the package."""
        return await asyncio.to_thread(_blocking(self).Close, *args, **kwargs)

    async def _is_account(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        try:
            position, known = parse(function, args, kwargs)
        except RejectedError as rejected:
            self._error = rejected.error
            return False
        if function == "login":
            known = {**known, "login": position[0]}
        terminal = await self.describe()
        if any(known.get(name) not in {None, 0, "", terminal[name]} for name in ("login", "server")):
            self._error = (-6, "Terminal: Authorization failed")
            return False
        self._error = SUCCESS if terminal["connected"] else (-10005, "IPC timeout")
        return bool(terminal["connected"])

    async def _call(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Any:
        try:
            args, kwargs = parse(function, args, kwargs)
        except RejectedError as rejected:
            self._error = rejected.error
            return rejected.value
        except SystemError as error:
            self._error = left_by(error, SUCCESS)
            raise
        value, self._error = await self._ask(function, args, kwargs, options)
        return value

    async def _ask(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Any, tuple[int, str]]:
        frame = transport.pack_call(function, args, kwargs, options)
        async with self._room:
            sender = self._frames.transport
            if sender is None or sender.is_closing():
                raise BridgeLost("the connection is closed")
            future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
            self._frames.waiting.append(future)
            sender.write(frame)
            try:
                async with asyncio.timeout(timeout_of(function)):
                    kind, body = await future
            except TimeoutError as error:
                sender.abort()
                raise BridgeLost("no answer came") from error
        try:
            status, payload, code, text = transport.unpack_answer(kind, body)
            if status == "ok":
                return payload, (code, text)
            raise refusal(status, payload)
        except CodecError as error:
            sender.abort()
            raise BridgeLost("the worker's answer cannot be read") from error


async def _open(endpoint: Endpoint) -> _Frames:
    address, loop = parse_address(endpoint.address), asyncio.get_running_loop()
    opening: Coroutine[Any, Any, tuple[asyncio.BaseTransport, _Frames]]
    try:
        if address.is_unix:
            opening = loop.create_unix_connection(_Frames, str(address.path))
        else:
            context = endpoint.context() if endpoint.ticket is not None else None
            name = None if context is None else endpoint.server_name or address.host
            opening = loop.create_connection(_Frames, *address.host_and_port(), ssl=context, server_hostname=name)
        async with asyncio.timeout(CONNECT_SECONDS):
            return (await opening)[1]
    except (OSError, ssl.SSLError) as error:
        raise BridgeLost(f"no connection to {endpoint.address}: {error.strerror or error}") from error


class _Blocking:
    """The client as Buy, Sell and Close want it: from a thread of theirs, each call waits for the loop."""

    def __init__(self, client: AsyncMetaTrader5, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def Buy(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802 - the package's name
        return orders.deal(self, CONSTANTS["ORDER_TYPE_BUY"], symbol, volume, price, comment, ticket)

    def Sell(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802 - the package's name
        return orders.deal(self, CONSTANTS["ORDER_TYPE_SELL"], symbol, volume, price, comment, ticket)

    def Close(self, symbol: Any, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802 - the package's name
        return orders.close(self, symbol, comment, ticket)

    def symbol_info_tick(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait(self._client.symbol_info_tick(*args, **kwargs))

    def positions_get(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait(self._client.positions_get(*args, **kwargs))

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait(self._client.order_send(*args, **kwargs))

    def _wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


def _blocking(client: AsyncMetaTrader5) -> _Blocking:
    return _Blocking(client, asyncio.get_running_loop())


def _method(name: str) -> Callable[..., Awaitable[Any]]:
    async def method(self: AsyncMetaTrader5, *args: Any, **kwargs: Any) -> Any:
        return await self._call(name, args, kwargs, {})

    method.__name__ = name
    method.__doc__ = getattr(MetaTrader5, name).__doc__
    return method


for _name, _function in FUNCTIONS.items():
    if _function.style is not Style.PYTHON and _name not in _LOCAL:
        setattr(AsyncMetaTrader5, _name, _method(_name))
for _name, _value in {**CONSTANTS, **STRUCT_CLASSES}.items():
    setattr(AsyncMetaTrader5, _name, _value)
