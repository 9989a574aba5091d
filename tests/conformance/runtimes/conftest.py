"""Each case runs on every runtime that can run here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.wine.image.base import import_base
from provisioning.wine.image.build import BASE, build_image
from provisioning.wine.tools import COMPILER, WineError, program, run
from tests.conformance.runtimes.drivers import (
    SimulatedDriver,
    WineContainerDriver,
    docker_problem,
    pack_template,
)
from tests.conformance.runtimes.stage import Driver, Stage

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "wine"
RUNTIMES = ("simulated", "wine_container")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each report names its runtime, so that cases can be counted."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "driver" in callspec.params:
            item.user_properties.append(("runtime", callspec.params["driver"]))


@pytest.fixture(scope="session")
def image() -> str:
    """The image of real terminals, built when this machine lacks it."""
    problem = docker_problem()
    if problem:
        pytest.skip(f"no containers here: {problem}")
    try:
        program(COMPILER)
        import_base(BASE, _progress)
        return build_image(CACHE, _progress)
    except WineError as error:
        pytest.skip(f"the image of real terminals cannot be built here: {error}")


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program called terminal64.exe."""
    built = tmp_path_factory.mktemp("stand-in") / "terminal64.exe"
    try:
        compiler = program(COMPILER)
    except WineError as error:
        pytest.skip(str(error))
    run("Compiling", [compiler, "-municode", "-mwindows", "-O2", "-s", "-o", built, HERE / "terminal64.c"])
    return built


@pytest.fixture(scope="session", params=RUNTIMES)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    if request.param == "simulated":
        return SimulatedDriver()
    image, program = request.getfixturevalue("image"), request.getfixturevalue("stand_in")
    return WineContainerDriver(image, pack_template(tmp_path_factory.mktemp("template"), program))


@pytest.fixture
def stage(driver: Driver) -> Iterator[Stage]:
    made = Stage.open(driver)
    yield made
    made.close()


def _progress(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
