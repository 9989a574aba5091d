"""What operators do to the fleet over REST, and who may."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from control_plane.identity.model import Tenant, User
from control_plane.identity.state import Role
from control_plane.terminals.model import Terminal
from node_agent.protocol.encoding import from_text
from node_agent.protocol.messages import BUNDLE_BYTES, BUNDLES_PATH, DesiredTerminal, Phase, Reason
from tests.unit.control_plane.world import NodePlayer, Trader, World, certificate_request, observed, report

WHY = {"reason": "for a test"}


@pytest.fixture
def operator(world: World) -> Trader:
    return world.operator()


@pytest.fixture
def spare(world: World, node: NodePlayer) -> NodePlayer:
    return world.node(name="spare")


def node_of(trader: Trader, account: str) -> str | None:
    name: str | None = trader.call("GET", f"/accounts/{account}")["terminal"]["node_name"]
    return name


class TestWhoMay:
    @pytest.mark.parametrize("role", [Role.TRADER, Role.SUPPORT, Role.BROKER_ADMIN])
    def test_only_those_who_run_the_fleet(self, world: World, node: NodePlayer, role: Role) -> None:
        person = world.operator(role, "someone@example.com")
        assert person.call("GET", "/nodes", 403)["code"] == "role_required"
        assert person.call("POST", f"/nodes/{node.node_id}/revoke", 403, WHY)["code"] == "role_required"

    def test_not_those_of_a_broker_who_rents_capacity(self, world: World) -> None:
        person = world.operator(Role.OWNER, "owner@broker.example")
        with world.farm.database.write_as_system() as session:
            session.add(Tenant(id="ten_broker", kind="broker", name="Broker", created_at=world.clock.now()))
            session.flush()
            session.get_one(User, person.user["id"]).tenant_id = "ten_broker"
        assert person.call("GET", "/nodes", 403)["code"] == "role_required"

    @pytest.mark.parametrize("role", [Role.OWNER, Role.OPS])
    def test_owner_and_ops_do(self, world: World, node: NodePlayer, role: Role) -> None:
        person = world.operator(role, "someone@example.com")
        assert [each["name"] for each in person.call("GET", "/nodes")["items"]] == ["node-1"]

    def test_every_deed_is_written_down_with_who_and_why(self, operator: Trader, node: NodePlayer) -> None:
        operator.call("POST", f"/nodes/{node.node_id}/cordon", 200, {"reason": "new kernel"})
        shown = operator.call("POST", f"/nodes/{node.node_id}/uncordon", 200, {"reason": "kernel is in"})
        deeds = [
            (each["actor"], each["action"], each["reason"]) for each in shown["deeds"] if each["action"] != "enrol"
        ]
        assert sorted(deeds) == [
            ("ops@example.com", "cordon", "new kernel"),
            ("ops@example.com", "uncordon", "kernel is in"),
        ]

    def test_a_node_that_is_not_there_is_said_so(self, operator: Trader) -> None:
        assert operator.call("GET", "/nodes/nod_x", 404)["code"] == "node_not_found"
        assert operator.call("POST", "/nodes/nod_x/drain", 404, WHY)["code"] == "node_not_found"


class TestCordon:
    def test_what_runs_there_runs_on_and_nothing_comes_to_it(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        operator.call("POST", f"/nodes/{node.node_id}/cordon", 200, WHY)
        second = trader.connect(5002)
        world.let_pass(60, node)
        assert node_of(trader, account) == "node-1"
        shown = trader.call("GET", f"/accounts/{second['id']}")["terminal"]
        assert "cordoned" in shown["explanation"]
        operator.call("POST", f"/nodes/{node.node_id}/uncordon", 200, WHY)
        world.run_loops()
        assert node_of(trader, second["id"]) == "node-1"


class TestPressure:
    @pytest.mark.parametrize(("pressure", "placed"), [(["memory"], None), (["disk"], None), (["clock"], "node-1")])
    def test_a_node_that_is_short_of_memory_or_disk_gets_nothing_new(
        self, world: World, trader: Trader, node: NodePlayer, pressure: list[str], placed: str | None
    ) -> None:
        node.report = report(pressure=pressure)
        node.sync()
        account = trader.connect()["id"]
        world.run_loops()
        assert node_of(trader, account) == placed
        node.report = report()
        node.sync()
        world.run_loops()
        assert node_of(trader, account) == "node-1"


class TestDrain:
    def fill(self, world: World, trader: Trader, node: NodePlayer, count: int) -> list[str]:
        accounts = [trader.connect(7000 + number)["id"] for number in range(count)]
        world.run_loops()
        node.fetch()
        node.obey()
        return accounts

    def test_flat_terminals_leave_at_once_and_the_others_when_flat(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        flat, busy = self.fill(world, trader, node, 2)
        spare = world.node(name="spare")

        def report_both() -> None:
            node.sync(
                *(
                    observed(each, flat=each.account_id == flat)
                    if each.running
                    else observed(each, phase=Phase.STOPPED)
                    for each in node.desired
                )
            )

        report_both()
        shown = operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 3600})
        assert shown["availability"] == "draining"
        self.settle(world, report_both, spare)
        assert (node_of(trader, flat), node_of(trader, busy)) == ("spare", "node-1")
        drain = operator.call("GET", f"/nodes/{node.node_id}")["drain"]
        assert (drain["total"], drain["left"], drain["steps"]) == (2, 1, {"waits_until_flat": 1})
        node.obey()
        self.settle(world, node.obey, spare)
        assert node_of(trader, busy) == "spare"
        assert operator.call("GET", f"/nodes/{node.node_id}")["drain"]["left"] == 0

    def test_at_the_deadline_those_with_positions_leave_as_well(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        (busy,) = self.fill(world, trader, node, 1)
        node.obey(flat=False)
        spare = world.node(name="spare")
        operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 120})
        self.settle(world, lambda: node.obey(flat=False), spare)
        assert node_of(trader, busy) == "node-1"
        world.let_pass(60)
        self.settle(world, lambda: node.obey(flat=False), spare)
        assert node_of(trader, busy) == "spare"

    def test_no_place_is_given_up_for_none(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        accounts = self.fill(world, trader, node, 3)
        spare = world.node(name="spare", slots=2)
        operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 0})
        self.settle(world, node.obey, spare)
        assert sorted(str(node_of(trader, each)) for each in accounts) == ["node-1", "spare", "spare"]
        shown = operator.call("GET", f"/nodes/{node.node_id}")
        assert shown["drain"]["steps"] == {"no_room": 1}
        assert [each["drain_step"] for each in shown["terminals"]] == ["no_room"]

    def test_what_waits_for_its_login_to_become_free_holds_no_room_back(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        for email in ("second@example.com", "third@example.com"):
            rival = world.trader(email)
            assert node_of(rival, rival.connect(5001)["id"]) is None
        spare = world.node(name="spare", slots=1)
        operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 0})
        world.run_loops()
        assert operator.call("GET", f"/nodes/{node.node_id}")["drain"]["steps"] == {"leaving": 1}
        self.settle(world, node.obey, spare)
        assert node_of(trader, account) != "node-1"

    def test_a_cancelled_one_leaves_what_is_left_and_the_node_cordoned(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        (busy,) = self.fill(world, trader, node, 1)
        spare = world.node(name="spare")
        node.obey(flat=False)
        operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 60})
        shown = operator.call("POST", f"/nodes/{node.node_id}/cancel-drain", 200, WHY)
        assert (shown["availability"], shown["drain"]) == ("cordoned", None)
        world.let_pass(120, node, spare)
        assert node_of(trader, busy) == "node-1"
        assert operator.call("POST", f"/nodes/{node.node_id}/cancel-drain", 409, WHY)["code"] == "not_draining"

    def test_a_silent_node_gives_nothing_up(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        (account,) = self.fill(world, trader, node, 1)
        spare = world.node(name="spare")
        operator.call("POST", f"/nodes/{node.node_id}/drain", 202, {**WHY, "within_seconds": 100})
        # The loops take the first step at once, so the node has to be silent before they run.
        world.clock.advance(seconds=40)
        world.let_pass(60, spare)
        assert node_of(trader, account) == "node-1"

    @staticmethod
    def settle(world: World, report: Callable[[], object], spare: NodePlayer) -> None:
        """A few rounds in which nodes report and the loops run."""
        for _ in range(4):
            world.clock.advance(seconds=10)
            world.run_loops()
            report()
            spare.obey()
        world.run_loops()
        spare.obey()


class TestMove:
    def test_a_terminal_goes_to_another_node_under_a_higher_epoch(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer, spare: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        node.obey()
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/move"
        operator.call("POST", path, 202, WHY)
        assert "Moving" in trader.call("GET", f"/accounts/{account}")["terminal"]["explanation"]
        assert trader.call("POST", f"/accounts/{account}/tickets", 409, {"scope": "read"})["code"] == (
            "terminal_not_ready"
        )
        node.obey()
        assert [each.running for each in node.desired] == [False]
        world.run_loops()
        assert node_of(trader, account) == "node-1", "the stop is not confirmed yet"
        node.obey()
        world.run_loops()
        assert [(each.epoch, each.running) for each in spare.fetch().terminals] == [(2, True)]
        assert [(each.epoch, each.ended_by) for each in world.assignments(wanted.terminal_id)] == [
            (1, "confirmed"),
            (2, ""),
        ]
        with world.farm.database.read_as_system() as session:
            assert session.get_one(Terminal, wanted.terminal_id).avoid_node_id is None, "it may come back one day"

    def test_open_positions_are_not_left_alone_unless_it_is_said(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer, spare: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/move"
        for flat in (False, None):
            node.obey(flat=flat)
            assert operator.call("POST", path, 409, WHY)["code"] == "not_flat"
        operator.call("POST", path, 202, {**WHY, "with_positions": True})

    def test_there_must_be_room_elsewhere(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        node.obey()
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/move"
        assert operator.call("POST", path, 409, WHY)["code"] == "no_room"
        assert node_of(trader, account) == "node-1"

    def test_a_terminal_of_another_node_is_not_here(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer, spare: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        path = f"/nodes/{spare.node_id}/terminals/{wanted.terminal_id}/move"
        assert operator.call("POST", path, 404, WHY)["code"] == "terminal_not_here"


class TestConfirmDead:
    @pytest.fixture
    def lost(self, world: World, trader: Trader, node: NodePlayer, spare: NodePlayer) -> DesiredTerminal:
        _, wanted = world.ready_account(trader, node)
        world.let_pass(400, spare)
        return wanted

    def test_everything_starts_elsewhere(
        self, lost: DesiredTerminal, world: World, operator: Trader, node: NodePlayer, spare: NodePlayer
    ) -> None:
        answer = operator.call("POST", f"/nodes/{node.node_id}/confirm-dead", 200, {"reason": "disk was shredded"})
        assert answer == {"terminals": 1}
        world.run_loops()
        assert [each.epoch for each in spare.fetch().terminals] == [2]
        assert [each.ended_by for each in world.assignments(lost.terminal_id)] == ["operator", ""]
        deeds = operator.call("GET", f"/nodes/{node.node_id}")["deeds"]
        assert (deeds[0]["action"], deeds[0]["reason"]) == ("confirm_dead", "disk was shredded")

    def test_a_node_that_answers_is_not_dead(self, operator: Trader, node: NodePlayer) -> None:
        assert operator.call("POST", f"/nodes/{node.node_id}/confirm-dead", 409, WHY)["code"] == "node_answers"

    def test_one_that_comes_back_is_told_to_stop_and_is_no_longer_dead(
        self, lost: DesiredTerminal, world: World, operator: Trader, node: NodePlayer
    ) -> None:
        operator.call("POST", f"/nodes/{node.node_id}/confirm-dead", 200, WHY)
        assert operator.call("GET", f"/nodes/{node.node_id}")["declared_dead_at"] is not None
        node.make_ready(lost)
        assert node.desired == []
        assert operator.call("GET", f"/nodes/{node.node_id}")["declared_dead_at"] is None


class TestQuarantine:
    def test_a_node_on_which_most_terminals_fail_gets_nothing_new(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        for number in range(3):
            trader.connect(7000 + number)
        world.run_loops()
        node.fetch()
        node.obey(phase=Phase.FAILED, reason=Reason.TEMPLATE_BROKEN)
        world.run_loops()
        shown = operator.call("GET", f"/nodes/{node.node_id}")
        assert shown["availability"] == "quarantined"
        assert "installation" in shown["availability_note"]
        assert [each["actor"] for each in shown["deeds"] if each["action"] != "enrol"] == ["farm"]

    def test_what_fails_on_all_nodes_is_not_the_nodes_fault(
        self, world: World, operator: Trader, trader: Trader
    ) -> None:
        nodes = [world.node(name=f"node-{number}", slots=3) for number in range(3)]
        for number in range(9):
            trader.connect(7000 + number)
        world.run_loops()
        for each in nodes:
            each.fetch()
            each.obey(phase=Phase.FAILED, reason=Reason.DISK_FULL)
        world.run_loops()
        states = [each["availability"] for each in operator.call("GET", "/nodes")["items"]]
        assert sorted(states) == ["open", "open", "quarantined"]


class TestRequests:
    @pytest.fixture
    def wanted(self, world: World, trader: Trader, node: NodePlayer) -> DesiredTerminal:
        return world.ready_account(trader, node)[1]

    def ask(self, operator: Trader, node: NodePlayer, wanted: DesiredTerminal, kind: str) -> str:
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/requests"
        operator.call("POST", path, 202, {**WHY, "kind": kind})
        node.sync(observed(wanted))
        (request,) = node.desired[0].requests
        assert request.kind == kind
        return request.request_id

    def hand_over(self, node: NodePlayer, terminal_id: str, request_id: str, content: bytes) -> httpx.Response:
        path = f"{BUNDLES_PATH}/{terminal_id}/{request_id}"
        return node.http.put(path, content=content, headers={"Authorization": node.sign("PUT", path, content)})

    def test_a_restart_is_in_the_snapshot_until_the_node_has_done_it(
        self, operator: Trader, node: NodePlayer, wanted: DesiredTerminal
    ) -> None:
        request_id = self.ask(operator, node, wanted, "restart")
        assert self.ask(operator, node, wanted, "restart") == request_id, "asked for once is enough"
        node.sync(observed(wanted, finished_requests=[request_id]))
        assert node.desired[0].requests == []
        assert self.ask(operator, node, wanted, "restart") != request_id

    def test_logs_are_handed_over_and_can_be_read(
        self, operator: Trader, node: NodePlayer, wanted: DesiredTerminal
    ) -> None:
        request_id = self.ask(operator, node, wanted, "collect_logs")
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/logs"
        assert operator.call("GET", path, 404)["code"] == "no_logs"
        for _ in range(2):
            assert self.hand_over(node, wanted.terminal_id, request_id, b"packed").status_code == 204
        response = operator.request("GET", path)
        assert (response.content, response.headers["content-type"]) == (b"packed", "application/gzip")

    def test_nothing_is_taken_that_nobody_asked_this_node_for(
        self, world: World, operator: Trader, node: NodePlayer, spare: NodePlayer, wanted: DesiredTerminal
    ) -> None:
        request_id = self.ask(operator, node, wanted, "collect_logs")
        for stranger, terminal_id, request in (
            (spare, wanted.terminal_id, request_id),
            (node, wanted.terminal_id, "req_00000000000000000000000000"),
            (node, "ter_00000000000000000000000000", request_id),
        ):
            answer = self.hand_over(stranger, terminal_id, request, b"packed")
            assert (answer.status_code, answer.json()["code"]) == (404, "bundle_not_asked_for")
        assert not (world.data / "bundles").exists()

    def test_too_much_is_refused(self, operator: Trader, node: NodePlayer, wanted: DesiredTerminal) -> None:
        request_id = self.ask(operator, node, wanted, "collect_logs")
        answer = self.hand_over(node, wanted.terminal_id, request_id, b"x" * (BUNDLE_BYTES + 1))
        assert answer.json()["code"] == "bundle_too_large"


class TestAccess:
    def test_sessions_end_with_a_new_password(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "new"})
        node.sync()
        assert node.desired[0].access_epoch == wanted.access_epoch + 1

    def test_sessions_end_when_their_owner_says_so(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/end-sessions", 204)
        node.sync()
        assert node.desired[0].access_epoch == wanted.access_epoch + 1

    def test_a_ticket_carries_the_access_epoch(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/end-sessions", 204)
        issued = trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "read"})
        keys = {
            each.kid: Ed25519PublicKey.from_public_bytes(from_text(each.key))
            for each in world.farm.tickets.public_keys()
        }
        assert verify_claims(issued["ticket"], keys) == 1

    def test_one_ticket_can_be_revoked_for_as_long_as_its_session_could_last(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        issued = trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "trade"})
        trader.call("DELETE", f"/accounts/{account}/tickets/{issued['ticket_id']}", 204)
        trader.call("DELETE", f"/accounts/{account}/tickets/{issued['ticket_id']}", 204)
        answer = node.sync()
        assert answer.desired is not None
        assert answer.desired.revoked_tickets == [issued["ticket_id"]]
        world.clock.advance(hours=13)
        world.run_loops()
        node.generation = 0
        answer = node.sync()
        assert answer.desired is not None
        assert answer.desired.revoked_tickets == []

    def test_signing_out_everywhere_ends_browsers_and_terminals(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        trader.call("POST", "/auth/sign-out-everywhere", 204)
        trader.call("GET", "/me", 401)
        node.sync()
        assert node.desired[0].access_epoch == wanted.access_epoch + 1


class TestCertificate:
    def test_is_renewed_for_the_key_of_the_request_and_the_nodes_own_name(self, world: World, node: NodePlayer) -> None:
        node.gateway_csr = certificate_request()
        answer = node.sync()
        certificate = x509.load_pem_x509_certificate(answer.gateway_certificate.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(world.farm.authority.pem.encode()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [node.node_id]
        request = x509.load_pem_x509_csr(node.gateway_csr.encode())
        assert certificate.public_key() == request.public_key()

    def test_a_request_that_cannot_be_read_holds_nothing_up(self, node: NodePlayer) -> None:
        node.gateway_csr = "nonsense"
        assert node.sync().gateway_certificate == ""

    def test_without_a_request_there_is_none(self, node: NodePlayer) -> None:
        assert node.sync().gateway_certificate == ""


def verify_claims(ticket: str, keys: dict[str, Ed25519PublicKey]) -> int:
    """The access epoch of a signed ticket; its age is real time, which tests do not follow."""
    kid = str(jwt.get_unverified_header(ticket)["kid"])
    claims = jwt.decode(
        ticket, keys[kid], algorithms=["EdDSA"], options={"verify_exp": False, "verify_aud": False, "verify_iat": False}
    )
    return int(claims["aep"])
