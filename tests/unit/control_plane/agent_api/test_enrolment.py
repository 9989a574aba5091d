"""How nodes get in, and how the farm knows them again."""

from __future__ import annotations

import ssl
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from control_plane.errors import FarmError
from control_plane.fleet.model import EnrolmentToken
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import ENROLL_PATH, EVENTS_PATH, SYNC_PATH, WATCH_PATH, EventBatch
from tests.unit.control_plane.world import JSON, NodePlayer, World


class TestEnrolmentToken:
    def test_is_good_for_one_node(self, node: NodePlayer) -> None:
        again = node.http.post(ENROLL_PATH, content=node.enrolment.model_dump_json(), headers=JSON)
        assert (again.status_code, again.json()["code"]) == (401, "token_used")

    def test_expires_after_15_minutes(self, world: World, node: NodePlayer) -> None:
        with world.farm.database.write_as_system() as session:
            token = world.farm.fleet.issue_token(session, world.farm.identity.bootstrap(session).id, "late")
        world.clock.advance(minutes=15, seconds=1)
        request = node.enroll_request(token=token)
        answer = node.http.post(ENROLL_PATH, content=request.model_dump_json(), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")

    def test_must_be_one_of_ours(self, node: NodePlayer) -> None:
        request = node.enroll_request(token="mfe_guessed")
        answer = node.http.post(ENROLL_PATH, content=request.model_dump_json(), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_unknown")

    def test_is_kept_as_a_hash_only(self, world: World, node: NodePlayer) -> None:
        with world.farm.database.read_as_system() as session:
            row = session.query(EnrolmentToken).one()
        assert node.token not in (row.token_hash, row.id, row.name)

    @pytest.mark.parametrize(
        "change",
        [
            {"gateway_csr": "nonsense"},
            {"identity_key": "AAAA"},
            {"sealing_key": "!"},
            {"gateway_address": "no-port"},
            {"gateway_address": "bad host:1"},
            {"gateway_address": "host:99999"},
        ],
    )
    def test_is_not_used_up_by_a_request_that_is_wrong(
        self, world: World, node: NodePlayer, change: dict[str, str]
    ) -> None:
        with world.farm.database.write_as_system() as session:
            token = world.farm.fleet.issue_token(session, world.farm.identity.bootstrap(session).id, "next")
        wrong = node.enroll_request(token=token, **change)
        assert node.http.post(ENROLL_PATH, content=wrong.model_dump_json(), headers=JSON).status_code == 422
        right = node.enroll_request(token=token)
        assert node.http.post(ENROLL_PATH, content=right.model_dump_json(), headers=JSON).status_code == 201


class TestGatewayCertificate:
    def test_names_the_node_and_nothing_that_the_node_asked_for(self, node: NodePlayer) -> None:
        certificate = x509.load_pem_x509_certificate(node.welcome.gateway_certificate.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [node.node_id]
        assert names.get_values_for_type(x509.IPAddress) == []

    def test_is_signed_by_the_farm(self, world: World, node: NodePlayer) -> None:
        authority = x509.load_pem_x509_certificate(node.welcome.ca_pem.encode())
        certificate = x509.load_pem_x509_certificate(node.welcome.gateway_certificate.encode())
        certificate.verify_directly_issued_by(authority)
        assert world.farm.authority.pem == node.welcome.ca_pem
        ssl.create_default_context(cadata=node.welcome.ca_pem)


class TestSignature:
    def body(self) -> bytes:
        return EventBatch(events=[]).model_dump_json().encode()

    def test_counts_once(self, node: NodePlayer) -> None:
        signature = node.sign("POST", EVENTS_PATH, self.body())
        assert node.post(EVENTS_PATH, self.body(), signature).status_code == 200
        replay = node.post(EVENTS_PATH, self.body(), signature)
        assert (replay.status_code, replay.json()["code"]) == (401, "request_replayed")

    def test_is_remembered_as_long_as_it_would_be_valid(self, world: World, node: NodePlayer) -> None:
        signature = node.sign("POST", EVENTS_PATH, self.body())
        node.post(EVENTS_PATH, self.body(), signature)
        world.clock.advance(seconds=90)
        world.run_loops()
        assert node.post(EVENTS_PATH, self.body(), signature).json()["code"] == "request_replayed"

    def test_is_for_one_path_and_one_body(self, node: NodePlayer) -> None:
        for path, body in ((SYNC_PATH, self.body()), (EVENTS_PATH, b'{"events": [], "x": 1}')):
            signature = node.sign("POST", EVENTS_PATH, self.body())
            answer = node.post(path, body, signature)
            assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")

    def test_must_be_the_nodes_own(self, node: NodePlayer) -> None:
        stranger = Ed25519PrivateKey.generate()
        now = datetime.now(UTC).timestamp()
        signature = sign_request(stranger, node.node_id, "POST", EVENTS_PATH, self.body(), now)
        assert node.post(EVENTS_PATH, self.body(), signature).json()["code"] == "bad_signature"

    def test_grows_old(self, node: NodePlayer) -> None:
        then = (datetime.now(UTC) - timedelta(minutes=5)).timestamp()
        signature = sign_request(node.identity, node.node_id, "POST", EVENTS_PATH, self.body(), then)
        assert node.post(EVENTS_PATH, self.body(), signature).json()["code"] == "bad_signature"

    def test_of_an_unknown_node_says_so(self, node: NodePlayer) -> None:
        now = datetime.now(UTC).timestamp()
        signature = sign_request(node.identity, "nod_0000000000000000", "POST", EVENTS_PATH, self.body(), now)
        assert node.post(EVENTS_PATH, self.body(), signature).json()["code"] == "node_unknown"

    @pytest.mark.parametrize("header", ["", "Bearer x", "Farm-Node", "Farm-Node a.b.c"])
    def test_garbage_is_refused(self, node: NodePlayer, header: str) -> None:
        answer = node.http.post(EVENTS_PATH, content=self.body(), headers={**JSON, "Authorization": header})
        assert answer.status_code in {401, 422}

    def test_is_needed_for_the_watch_too(self, node: NodePlayer) -> None:
        assert node.http.get("/agent/v1/watch?generation=0").status_code == 422
        signature = node.sign("GET", "/agent/v1/watch", b"")
        answer = node.http.get("/agent/v1/watch?generation=0", headers={"Authorization": signature})
        assert answer.json() == {"generation": 1}

    def test_of_a_watch_must_be_right_but_may_be_heard_twice(self, world: World, node: NodePlayer) -> None:
        own = node.sign("GET", WATCH_PATH, b"")
        strange = sign_request(Ed25519PrivateKey.generate(), node.node_id, "GET", WATCH_PATH, b"", time.time())
        unknown = sign_request(node.identity, "nod_0000000000000000", "GET", WATCH_PATH, b"", time.time())
        found = world.farm.agent_api.signed_watches(WATCH_PATH, [own, strange, "Bearer x", unknown, own])
        assert [each.code if isinstance(each, FarmError) else each for each in found] == [
            1,
            "bad_signature",
            "bad_signature",
            "node_unknown",
            1,
        ]

    @pytest.mark.parametrize("generation", ["-1", "1.5", "x", "\u0661", "9" * 30])
    def test_of_a_watch_for_no_generation_is_not_looked_at(self, node: NodePlayer, generation: str) -> None:
        headers = {"Authorization": node.sign("GET", WATCH_PATH, b"")}
        assert node.http.get(WATCH_PATH, params={"generation": generation}, headers=headers).status_code == 422

    def test_of_a_report_is_needed_and_has_an_end(self, node: NodePlayer) -> None:
        for headers in ({}, {"Authorization": f"Farm-Node {'x' * 2000}"}):
            assert node.http.post(SYNC_PATH, content=node.sync_body([]), headers=headers).status_code == 422

    def test_of_a_report_is_counted_under_the_name_of_its_exchange(self, world: World, node: NodePlayer) -> None:
        node.sync()
        counted = world.farm.metrics.requests.labels("agents", "POST", SYNC_PATH, "200")
        assert counted._value.get() == 1


def test_an_identity_that_was_not_renewed_ends_after_a_day(world: World, node: NodePlayer) -> None:
    world.clock.advance(hours=23)
    node.sync()
    world.clock.advance(hours=23)
    node.sync()
    world.clock.advance(hours=25)
    answer = node.post(SYNC_PATH, node.sync_body([]))
    assert (answer.status_code, answer.json()["code"]) == (401, "identity_expired")


def test_time_in_which_nobody_listened_does_not_count_against_an_identity(world: World, node: NodePlayer) -> None:
    node.sync()
    world.clock.advance(hours=30)
    world.run_loops()  # the first round after a start
    node.sync()
    world.clock.advance(hours=30)
    world.run_loops()  # after the machine was asleep
    node.sync()


def test_an_older_report_is_not_taken_for_the_present(node: NodePlayer) -> None:
    late = node.sync_body([])
    node.sync()
    assert node.post(SYNC_PATH, late).json()["code"] == "sequence_outdated"


def test_a_second_machine_with_the_same_keys_and_an_agent_of_1_0_does_not_alternate_with_the_first(
    node: NodePlayer,
) -> None:
    node.protocol = "1.0"
    node.sync()
    node.boot_id, node.sequence = "boot-2", 0
    node.sync()
    node.boot_id, node.sequence = "boot-1", 10
    assert node.post(SYNC_PATH, node.sync_body([])).json()["code"] == "boot_superseded"


def test_a_body_that_is_no_frame_is_a_problem(node: NodePlayer) -> None:
    answer = node.post(SYNC_PATH, b"{}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_events_are_read_before_the_transaction_that_others_wait_for(
    world: World, node: NodePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    write = world.farm.database.write_as_system

    def writing() -> AbstractContextManager[Session]:
        taken.append(True)
        return write()

    monkeypatch.setattr(world.farm.database, "write_as_system", writing)
    assert node.post(EVENTS_PATH, b"{}").status_code == 422
    assert taken == []
    body = EventBatch(events=[]).model_dump_json().encode()
    signature = node.sign("POST", EVENTS_PATH, body)
    assert node.post(EVENTS_PATH, body, signature).status_code == 200
    assert taken == [True]
    assert node.post(EVENTS_PATH, body, signature).status_code == 401  # it counts once, as ever
