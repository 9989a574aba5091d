"""Prometheus and Grafana ask for what the farm really shows, and the alerts are played by promtool where it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node_agent.metrics import NodeCollector
from tests.node_figures import FIGURES
from tests.unit.control_plane.world import World, build_world

FOLDER = Path(__file__).resolve().parents[4] / "provisioning" / "monitoring"
OF_PROMETHEUS = {"up"}


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in load("alerts.yml")["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana" / "farm.json").read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Every sample that a farm with something in it shows, each with each of its labels and with none."""
    world: World = build_world(tmp_path_factory.mktemp("farm"))
    world.ready_account(world.trader(), world.node())
    for loop in world.farm.loops:
        loop.round_ended_at = 0.0
    found = set()
    node = CollectorRegistry()
    node.register(NodeCollector(lambda: FIGURES))
    text = world.farm.metrics.exposition().decode() + generate_latest(node).decode()
    for family in text_string_to_metric_families(text):
        found.add((family.name, ""))
        for sample in family.samples:
            found |= {(sample.name, label) for label in ("", *sample.labels)}
    world.farm.stop()
    return found | {("mt5farm_orders_open", "state"), ("up", ""), ("up", "job")}


def test_every_expression_asks_for_metrics_and_labels_that_are_there(shown: set[tuple[str, str]]) -> None:
    for expression in expressions():
        names = re.findall(r"\b(mt5farm_\w+|up)\b(?:\{([^}]*)\})?", expression)
        assert names, expression
        for name, selector in names:
            labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)
            assert {(name, label) for label in ("", *labels)} <= shown, expression


def test_alerts_say_what_is_the_matter_and_how_urgent_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_figures_of_the_whole_farm_are_never_added_up_over_replicas() -> None:
    for expression in expressions():
        if re.search(r"mt5farm_(jobs|nodes|terminals|orders_open|job_wait_seconds)\b", expression):
            assert expression.startswith("max"), expression
            assert not re.search(r"sum( by \((?!instance)\w+)?\s*\(mt5farm", expression), expression


def test_panels_do_not_lie_on_each_other() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard()["panels"]]
    assert len(places) == len(set(places)) == 18


@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")], ids=" ".join
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail("promtool is missing")
        pytest.skip("needs promtool (Debian's package prometheus)")
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
