"""The networks of containers: one for each terminal, so that terminals cannot reach each other."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import docker
from docker.types import IPAMConfig, IPAMPool

from node_agent.config import WineContainerSettings

_PREFIX: Final = 29
"""Eight addresses: the network, the gateway, the terminal, and room."""
_OUTGOING: Final = "com.docker.network.host_ipv4"
_NEIGHBOURS: Final = "com.docker.network.bridge.enable_icc"


def free_subnet(pool: IPv4Network, used: Collection[IPv4Network]) -> IPv4Network | None:
    """The first of the pool that overlaps no other; None when there is none. Pure."""
    return next(
        (each for each in pool.subnets(new_prefix=_PREFIX) if not any(each.overlaps(other) for other in used)), None
    )


def outgoing_address(terminal_id: str, addresses: Sequence[IPv4Address]) -> IPv4Address | None:
    """Always the same one for a terminal, so that a broker does not see it wander. Pure."""
    if not addresses:
        return None
    digest = hashlib.sha256(terminal_id.encode()).digest()
    return addresses[int.from_bytes(digest[:8], "big") % len(addresses)]


def ensure_network(
    client: docker.DockerClient, name: str, terminal_id: str, labels: dict[str, str], settings: WineContainerSettings
) -> str:
    """Make the terminal's network unless it is there; gives its name. Raises DockerException, OSError without room."""
    if client.networks.list(names=[f"^{name}$"]):
        return name
    subnet = free_subnet(settings.subnets, _subnets(client))
    if subnet is None:
        raise OSError(f"no network is left in {settings.subnets}")
    options = {_NEIGHBOURS: "false"}
    address = outgoing_address(terminal_id, settings.outgoing_addresses)
    if address is not None:
        options[_OUTGOING] = str(address)
    client.networks.create(
        name,
        driver="bridge",
        options=options,
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]),
        internal=not settings.outgoing,
        labels=labels,
    )
    return name


def _subnets(client: docker.DockerClient) -> list[IPv4Network]:
    pools = [pool for network in client.networks.list() for pool in network.attrs["IPAM"]["Config"] or ()]
    return [IPv4Network(pool["Subnet"]) for pool in pools if ":" not in pool.get("Subnet", ":")]
