"""Client of the bridge: `MetaTrader5(address, ticket=...)` has the functions and constants of the official module."""

from mt5_bridge.client.asynchronous import AsyncMetaTrader5
from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.client.terminal import MetaTrader5

__all__ = ["AsyncMetaTrader5", "BridgeError", "BridgeLost", "MetaTrader5"]
