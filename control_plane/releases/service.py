"""Import templates, pin them to broker servers, try them on one node, roll back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from control_plane.brokers.service import learn_server, require_server
from control_plane.clock import Clock
from control_plane.errors import ConflictError, NotFoundError, UnavailableError, invalid_field
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.service import Fleet
from control_plane.ids import new_id
from control_plane.releases import repository
from control_plane.releases.archive import TemplateRefusedError, archive_name, pack_into
from control_plane.releases.model import TemplatePin, TemplateTrial, TerminalTemplate
from node_agent.protocol.messages import TemplateRef

_FOLDER = "templates"


class Releases:
    """Every verb belongs in one transaction; nodes that are concerned look again."""

    def __init__(self, fleet: Fleet, data: Path, clock: Clock) -> None:
        self._fleet = fleet
        self._folder = data / _FOLDER
        self._clock = clock

    def import_template(self, session: Session, source: Path, broker: str, servers: Sequence[str]) -> TerminalTemplate:
        """Pack a folder or archive and keep it. A server that has nothing pinned yet gets this one at once.

        The same content twice is one template. Servers that it brings along are added to the directory where they
        are missing. Raises InvalidInputError, UnavailableError.
        """
        for server in servers:
            require_server(session, server)
        try:
            packed = pack_into(source, self._folder)
        except TemplateRefusedError as error:
            raise invalid_field("path", str(error), code="template_refused") from error
        except OSError as error:
            raise UnavailableError(f"The template cannot be kept: {error.strerror}.") from error
        template = repository.by_digest(session, packed.sha256)
        if template is None:
            template = TerminalTemplate(
                id=new_id("tpl"),
                broker=broker,
                build=packed.build,
                sha256=packed.sha256,
                size=packed.size,
                servers=list(servers),
                imported_at=self._clock.now(),
            )
            session.add(template)
            session.flush()
        for server in packed.servers:
            learn_server(session, self._clock, server, broker)
        for server in servers:
            if repository.pin(session, server) is None:
                self._pin(session, server, template.id, None)
        return template

    def pin(self, session: Session, server: str, template_id: str) -> None:
        """All terminals of this server run it from now on; each restarts for it. A trial of the server ends."""
        require_server(session, server)
        template = self._template(session, template_id)
        repository.delete_trial(session, server)
        present = repository.pin(session, server)
        previous = None
        if present is not None:
            # Pinning what is pinned must not forget what came before.
            previous = present.previous_id if present.template_id == template.id else present.template_id
        self._pin(session, server, template.id, previous)

    def try_on(self, session: Session, server: str, template_id: str, node_id: str) -> None:
        """The terminals of this server run it on this node; on the others what is pinned. One trial a server."""
        require_server(session, server)
        template = self._template(session, template_id)
        if fleet_repository.node(session, node_id) is None:
            raise NotFoundError("There is no such node.")
        self.end_trial(session, server)
        session.add(TemplateTrial(server=server, node_id=node_id, template_id=template.id, since=self._clock.now()))
        session.flush()
        self._fleet.desired_changed(session, node_id)

    def end_trial(self, session: Session, server: str) -> None:
        """Back to what is pinned. Without a trial nothing happens."""
        trial = repository.trial(session, server)
        if trial is not None:
            repository.delete_trial(session, server)
            self._fleet.desired_changed(session, trial.node_id)

    def roll_back(self, session: Session, server: str) -> TerminalTemplate | None:
        """End a trial, or else return to what was pinned before; gives what is pinned then.

        Raises ConflictError when there is neither.
        """
        require_server(session, server)
        pin = repository.pin(session, server)
        if repository.trial(session, server) is not None:
            self.end_trial(session, server)
            return self._template(session, pin.template_id) if pin else None
        if pin is None or pin.previous_id is None:
            raise ConflictError("This server has never run another template.", code="nothing_to_roll_back_to")
        restored = self._template(session, pin.previous_id)
        self._pin(session, server, restored.id, pin.template_id)
        return restored

    def remove(self, session: Session, template_id: str) -> None:
        """Raises ConflictError while a server uses it or could roll back to it."""
        template = self._template(session, template_id)
        users = repository.servers_that_use(session, template_id)
        if users:
            raise ConflictError(f"It is used by {', '.join(users)}.", code="template_in_use")
        session.delete(template)
        session.flush()
        self.archive(template.sha256).unlink(missing_ok=True)

    def archive(self, sha256: str) -> Path:
        """Where the bytes of a template are."""
        return self._folder / archive_name(sha256)

    def archive_for_nodes(self, session: Session, sha256: str) -> Path:
        """Raises NotFoundError."""
        if repository.by_digest(session, sha256) is None or not self.archive(sha256).is_file():
            raise NotFoundError("The farm has no such terminal template.", code="template_unknown")
        return self.archive(sha256)

    def _template(self, session: Session, template_id: str) -> TerminalTemplate:
        template = repository.template(session, template_id)
        if template is None:
            raise NotFoundError("There is no such terminal template.", code="template_unknown")
        return template

    def _pin(self, session: Session, server: str, template_id: str, previous_id: str | None) -> None:
        pin = repository.pin(session, server)
        if pin is None:
            pin = TemplatePin(server=server)
            session.add(pin)
        pin.template_id, pin.previous_id, pin.pinned_at = template_id, previous_id, self._clock.now()
        session.flush()
        for node in fleet_repository.nodes(session):
            self._fleet.desired_changed(session, node.id)


def template_refs(session: Session, node_ids: Collection[str]) -> dict[str, dict[str, TemplateRef]]:
    """By node id and broker server: what a node lays out its terminals from."""
    return {
        node_id: {
            server: TemplateRef(name=each.broker, build=each.build, sha256=each.sha256, size=each.size)
            for server, each in templates.items()
        }
        for node_id, templates in repository.on_nodes(session, node_ids).items()
    }
