"""One way to serve the stub, as a process: `python -m tests.benchmarks.bridge.servers WAY FOLDER`.

Prints its address as one line when it is ready, and serves until it is killed.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt5_bridge.arguments import SUCCESS
from tests.benchmarks.bridge import stub

LENGTH = struct.Struct("!L")
RAW = struct.Struct("!LL")
"""A raw message is a length and so many bytes; a request's bytes begin with the length of the answer."""


def exactly(sock: socket.socket, size: int) -> bytes:
    """As TCP must be read: until everything is there."""
    data = sock.recv(size)
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def ready(address: str) -> None:
    sys.stdout.write(address + "\n")
    sys.stdout.flush()


def raw_tcp(folder: Path) -> None:
    """Sends as many bytes as it is asked for. One thread for all clients."""
    content = memoryview(bytes(stub.ROWS * 60))
    listener = socket.create_server(("127.0.0.1", 0))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    ready(f"127.0.0.1:{listener.getsockname()[1]}")
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            peer = key.fileobj
            assert isinstance(peer, socket.socket)
            head = exactly(peer, LENGTH.size)
            if not head:
                selector.unregister(peer)
                peer.close()
                continue
            request = exactly(peer, LENGTH.unpack(head)[0])
            size = LENGTH.unpack_from(request)[0]
            if size <= 65536:
                peer.sendall(LENGTH.pack(size) + content[:size])
            else:
                peer.sendall(LENGTH.pack(size))
                peer.sendall(content[:size])


def raw_unframed(folder: Path) -> None:
    """The least that TCP can do: one read each way, which trusts that a small message comes whole."""
    content = memoryview(bytes(1 << 20))
    listener = socket.create_server(("127.0.0.1", 0))
    ready(f"127.0.0.1:{listener.getsockname()[1]}")
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    while selector.select() and (request := connection.recv(65536)):
        connection.sendall(content[: RAW.unpack_from(request)[1]])


class Intent:
    """What the desk reads of a journal's row."""

    __slots__ = ("client_order_id", "epoch", "principal", "request")

    def __init__(self, client_order_id: str, principal: str, epoch: int, request: Any) -> None:
        self.client_order_id, self.principal, self.epoch, self.request = client_order_id, principal, epoch, request


class NoJournal:
    """Remembers nothing, so that the way of an order is measured without the disk."""

    def add(self, client_order_id: str, principal: str, epoch: int, request: Any) -> tuple[Any, bool]:
        return Intent(client_order_id, principal, epoch, request), True

    def sent(self, *_: Any) -> None: ...

    def settle(self, *_: Any, **__: Any) -> None: ...

    def unsettled(self) -> tuple[()]:
        return ()

    def close(self) -> None: ...


def worker(folder: Path, *, journal: bool = False, flood: bool = False, moving: bool = False) -> None:
    """The bridge's own worker around the stub."""
    from mt5_bridge.worker import Worker
    from mt5_bridge.worker_config import load_worker_config

    (folder / "token").write_text(stub.TOKEN)
    config = {
        "terminal_id": "ter_0123456789abcdef",
        "epoch": 1,
        "listen": f"unix:{folder}/w",
        "backend": "simulated",
        "backend_options": {},
        "login": stub.LOGIN,
        "server": stub.SERVER,
        "journal": str(folder / "journal"),
        "token_file": str(folder / "token"),
        "guard": {},
        "log_file": str(folder / "log"),
    }
    (folder / "worker.json").write_text(json.dumps(config))
    served = Worker(
        load_worker_config(folder / "worker.json"), stub.TOKEN, stub.StubBackend(flood=flood, moving=moving)
    )
    if not journal:
        vars(served._terminal.desk)["_journal"] = NoJournal()
    ready(str(config["listen"]))
    served.run()


def mt5linux(folder: Path) -> None:
    """RPyC's classic mode, as mt5linux serves it."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    server = ThreadedServer(rpyc.SlaveService, hostname="127.0.0.1", port=0)
    server._listen()
    ready(f"127.0.0.1:{server.port}")
    server.start()


def plain_rpyc(folder: Path) -> None:
    """Stock RPyC with one method and plain values, its settings as they come."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    from mt5_bridge.codec import encode

    backend = stub.StubBackend()

    class Bridge(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
        def exposed_call(self, function: str, args: Any) -> Any:
            return "ok", encode(backend.call(function, args, {})), *SUCCESS

    server = ThreadedServer(Bridge, hostname="127.0.0.1", port=0)
    server._listen()
    ready(f"127.0.0.1:{server.port}")
    server.start()


def http_json(folder: Path) -> None:
    """One FastAPI endpoint, as most REST bridges have it."""
    import uvicorn
    from fastapi import FastAPI, Response

    module = stub.module()
    app = FastAPI()

    async def call(request: Any) -> Response:
        body = await request.json()
        value = getattr(module, body["function"])(*body["args"])
        return Response(stub.dumps(value), media_type="application/json")

    app.router.add_route("/call", call, methods=["POST"])
    listener = socket.create_server(("127.0.0.1", 0))
    ready(f"127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_keep_alive=600)).run(
        sockets=[listener]
    )


def zeromq(folder: Path) -> None:
    """REQ/REP with JSON, as the known ZeroMQ connectors for MT5 do it."""
    import zmq

    module = stub.module()
    door = zmq.Context().socket(zmq.ROUTER)
    port = door.bind_to_random_port("tcp://127.0.0.1")
    ready(f"127.0.0.1:{port}")
    while True:
        client, _, body = door.recv_multipart()
        request = json.loads(body)
        door.send_multipart([client, b"", stub.dumps(getattr(module, request["function"])(*request["args"]))])


WAYS: dict[str, Callable[[Path], None]] = {
    "raw": raw_tcp,
    "raw-unframed": raw_unframed,
    "worker": worker,
    "worker-journal": lambda folder: worker(folder, journal=True),
    "worker-moving": lambda folder: worker(folder, moving=True),
    "worker-flood": lambda folder: worker(folder, flood=True),
    "mt5linux": mt5linux,
    "rpyc": plain_rpyc,
    "http": http_json,
    "zeromq": zeromq,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]](Path(sys.argv[2]))
