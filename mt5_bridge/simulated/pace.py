"""How the time of a simulated market runs, as its operator wishes: pause, resume, speed, step."""

from __future__ import annotations

from typing import Any, Final

from mt5_bridge.simulated.broker import Broker, BrokerError
from mt5_bridge.simulated.link import RemoteError
from mt5_bridge.simulated.market.clock import FASTEST

MAX_SPEED: Final = 100_000.0
MAX_STEP_TICKS: Final = 100_000
MAX_STEP_MSC: Final = 7 * 86_400_000
VERBS: Final = frozenset({"pause", "resume", "speed", "step"})
_INVALID: Final = -2


def change_pace(broker: Broker, verb: str, arguments: Any, wall: float) -> int:
    """Carry out one of `VERBS` at a wall time (s, monotonic); returns the market time (ms). Raises RemoteError."""
    clock = broker.clock
    match verb, arguments:
        case "pause", ():
            broker.advance(wall)
            clock.pause(wall)
        case "resume", ():
            clock.resume(wall)
        case "speed", (float(speed),) if 0 < speed <= MAX_SPEED or speed == FASTEST:
            broker.advance(wall)
            clock.set_speed(speed, wall)
        case "step", (int(ticks), int(msc)) if 0 <= ticks <= MAX_STEP_TICKS and 0 <= msc <= MAX_STEP_MSC:
            try:
                broker.step(wall, ticks=ticks, milliseconds=msc)
            except BrokerError as error:
                raise RemoteError(_INVALID, str(error)) from error
        case _:
            raise RemoteError(_INVALID, "Terminal: Invalid params")
    return broker.book.now_msc
