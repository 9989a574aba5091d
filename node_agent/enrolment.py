"""A new node introduces itself: makes its keys, redeems its one-time token, keeps what it is told."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from node_agent.config import AgentConfig, Timing, WineContainerSettings, save_config
from node_agent.control_link import ControlError, enroll
from node_agent.errors import ConfigurationError, EnrolmentError
from node_agent.files import write_atomically
from node_agent.gateway.configuration import split_address
from node_agent.identity import gateway_request, make_gateway_key, make_keys, save_keys
from node_agent.layout import DataLayout
from node_agent.protocol.messages import EnrollRequest
from node_agent.runtimes.installed import runtime_names


class EnrolmentFile(BaseModel):
    """What the control plane's operator hands over."""

    token: str
    url: str
    ca_pem: str


@dataclass(frozen=True)
class EnrolmentOptions:
    name: str
    gateway_listen: str
    """`host:port`."""
    gateway_address: str
    """`host:port` under which clients reach the gateway."""
    slots: int
    timing: Timing
    wine_container: WineContainerSettings | None = None


def read_enrolment(path: Path) -> EnrolmentFile:
    """Raises ConfigurationError; the sentence never holds the token."""
    try:
        return EnrolmentFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the enrolment file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"the enrolment file {path} must be JSON with token, url and ca_pem") from error


async def enrol_node(layout: DataLayout, enrolment: EnrolmentFile, options: EnrolmentOptions) -> AgentConfig:
    """Raises EnrolmentError when refused, ConfigurationError for bad options or a folder that is enrolled already."""
    if layout.config.exists():
        raise ConfigurationError(f"{layout.root} is enrolled already; use another folder, or remove it to start anew")
    for address in (options.gateway_listen, options.gateway_address):
        try:
            split_address(address)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
    try:
        request = _introduce(layout, enrolment, options)
    except ValidationError as error:
        raise ConfigurationError("the node's name must have 1 to 64 characters") from error
    try:
        response = await enroll(enrolment.url, enrolment.ca_pem, request)
    except ControlError as error:
        raise EnrolmentError(f"the control plane did not enrol this node: {error}") from error
    config = AgentConfig(
        node_id=response.node_id,
        name=options.name,
        control_plane_url=enrolment.url,
        gateway_listen=options.gateway_listen,
        gateway_address=options.gateway_address,
        slots=options.slots,
        sync_seconds=response.sync_seconds,
        timing=options.timing,
        wine_container=options.wine_container,
    )
    layout.open_run_folder()
    write_atomically(layout.ca, response.ca_pem.encode())
    write_atomically(layout.gateway_files.certificate, response.gateway_certificate.encode())
    # Last: its presence means that the node is enrolled.
    save_config(layout.config, config)
    return config


def _introduce(layout: DataLayout, enrolment: EnrolmentFile, options: EnrolmentOptions) -> EnrollRequest:
    """Make the node's keys and the request that shows their public halves."""
    keys = make_keys()
    try:
        gateway_key = make_gateway_key(layout.gateway_files.key)
        # Before the token is spent, so that a folder that cannot be written costs nothing.
        save_keys(layout.identity, keys)
    except OSError as error:
        raise ConfigurationError(f"the node's keys cannot be written to {layout.root}: {error.strerror}") from error
    return EnrollRequest(
        token=enrolment.token,
        name=options.name,
        identity_key=keys.identity_public,
        sealing_key=keys.sealing_public,
        gateway_csr=gateway_request(gateway_key, options.name),
        gateway_address=options.gateway_address,
        runtimes=runtime_names(options.wine_container),
        slots=options.slots,
        platform=f"{platform.system().lower()}-{platform.machine()}",
    )
