"""What the reports of nodes cost the control plane once they have come: `python -m tests.benchmarks.reports`.

Reports of nodes with 20 terminals each, in which every price has moved, are taken in batches on a real Postgres. Shown
are processor time of this process and time by the clock for one report; neither has a goal. What the web server needs
to receive it is not in them.
"""

from __future__ import annotations

import argparse
import base64
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from control_plane.agent_api.batches import MOST
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.fleet.service import SignedReport
from mt5_bridge.garbage import collect_rarely
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import SYNC_PATH, SyncResponse
from tests.load.fleet import build_fleet
from tests.load.generator import Reporter
from tests.postgres import APPLICATION, running_postgres

TERMINALS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--together", type=int, default=MOST, help="reports in one transaction")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="m5reports") as folder, running_postgres(durable=True) as server:
        url = server.url(APPLICATION, server.migrated_database())
        farm = build_farm(Settings(data=Path(folder), database_url=url))
        nodes = _nodes(farm, chosen.nodes)
        for _ in range(3):
            _take(farm, nodes, chosen.together)
        collect_rarely()  # as where the farm is served
        rounds = [_take(farm, nodes, chosen.together) for _ in range(chosen.rounds)]
        farm.stop()
    processor, wall = (statistics.median(each) * 1000 / chosen.nodes for each in zip(*rounds, strict=True))
    print(
        f"{chosen.nodes} nodes with {TERMINALS} terminals, {chosen.together} reports at a time, {chosen.rounds} rounds"
    )
    print(f"a report: {processor:.2f} ms of processor time, {wall:.2f} ms by the clock")
    return 0


def _nodes(farm: Farm, count: int) -> list[Reporter]:
    fleet = build_fleet(farm, count, TERMINALS, 5)
    return [
        Reporter(
            {
                "node_id": member.node_id,
                "key": base64.b64encode(member.key).decode(),
                "terminals": [asdict(each) for each in member.terminals],
            },
            random.Random(number),
        )
        for number, member in enumerate(fleet.members)
    ]


def _take(farm: Farm, nodes: list[Reporter], together: int) -> tuple[float, float]:
    """Seconds of processor time and by the clock for a report of each node."""
    batches = []
    for start in range(0, len(nodes), together):
        some = nodes[start : start + together]
        batches.append((some, [_signed(each) for each in some]))
    processor, wall = time.process_time(), time.perf_counter()
    for some, reports in batches:
        for node, answer in zip(some, farm.agent_api.sync_all(reports), strict=True):
            if not isinstance(answer, SyncResponse):
                raise answer
            answer.model_dump_json()
            node.heard(answer.continuity, answer.generation)
    return time.process_time() - processor, time.perf_counter() - wall


def _signed(node: Reporter) -> SignedReport:
    body = node.body()
    header = sign_request(node.key, node.id, "POST", SYNC_PATH, body, time.time())
    return SignedReport.read(header, SYNC_PATH, body, "127.0.0.1")


if __name__ == "__main__":
    sys.exit(main())
