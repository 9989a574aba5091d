"""What the fleet needs from whoever provides a node's machine."""

from __future__ import annotations

from typing import Protocol


class PowerFence(Protocol):
    """Knows for sure whether a machine has no power. No provider does yet."""

    def is_off(self, node_id: str) -> bool:
        """True only when the provider has confirmed that the node's machine is off and stays off.

        May block on the provider's API; raises nothing: whatever is not certain is False.
        """
        ...
