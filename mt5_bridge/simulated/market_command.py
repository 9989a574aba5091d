"""`mt5farm-bridge broker status|pause|resume|step|speed`: how the time of a running broker's market runs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.simulated.link import RemoteError, host_port
from mt5_bridge.simulated.parser import Parser
from mt5_bridge.simulated.server import ADMIN_TOKEN_FILE, speed_of

VERBS = ("status", "pause", "resume", "step", "speed")


def _parser() -> Parser:
    parser = Parser(prog="broker", description="How the time of a running broker's market runs.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    for verb in VERBS:
        one = verbs.add_parser(verb)
        one.add_argument("--address", required=True, metavar="HOST:PORT", help="where the broker listens")
        one.add_argument("--data", type=Path, required=True, help="folder of the broker's books, with its admin token")
        if verb == "step":
            one.add_argument("--ticks", type=int, default=0, help="ticks of any symbol")
            one.add_argument("--seconds", type=float, default=0.0, help="market time")
        if verb == "speed":
            one.add_argument("speed", type=speed_of, help="market seconds in a second, or 'max'")
    return parser


def _carry_out(admin: BrokerAdmin, arguments: Any) -> dict[str, Any]:
    match arguments.verb:
        case "pause":
            admin.pause()
        case "resume":
            admin.resume()
        case "step":
            admin.step(ticks=arguments.ticks, seconds=arguments.seconds)
        case "speed":
            admin.set_speed(arguments.speed)
    status = admin.status()
    if status["speed"] == math.inf:
        status["speed"] = "max"
    return status


def main(argv: Sequence[str]) -> int:
    """Carry one verb out and print the broker's status as JSON; exit code 2 for bad arguments, 1 for a refusal."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.verb == "step" and (arguments.ticks > 0) is (arguments.seconds > 0):
        parser.error("step needs either --ticks or --seconds above 0")
    try:
        host_port(arguments.address)
        token = (arguments.data / ADMIN_TOKEN_FILE).read_text().strip()
    except ValueError:
        parser.error(f"--address must be HOST:PORT, not {arguments.address!r}")
    except OSError as error:
        parser.error(f"--data {arguments.data} holds no readable {ADMIN_TOKEN_FILE} ({error.strerror})")
    try:
        status = _carry_out(BrokerAdmin(arguments.address, token, timeout=60.0), arguments)
    except RemoteError as error:
        sys.stderr.write(f"The broker refuses: {error.text}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"The broker at {arguments.address} cannot be reached ({error}).\n")
        return 1
    sys.stdout.write(json.dumps(status) + "\n")
    return 0
