"""Each case runs on every runtime that can run here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from provisioning.wine.image.build import image_name
from provisioning.wine.tools import COMPILER, WineError, program, run
from tests.conformance.runtimes.drivers import (
    SimulatedDriver,
    WineContainerDriver,
    docker_problem,
    pack_template,
)
from tests.conformance.runtimes.stage import Driver, Stage
from tests.conformance.runtimes.windows_driver import WindowsDoubleDriver

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "wine"
RUNTIMES = ("simulated", "windows_process", "wine_container")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each report names its runtime, so that cases can be counted."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "driver" in callspec.params:
            item.user_properties.append(("runtime", callspec.params["driver"]))


@pytest.fixture(scope="session")
def image() -> str:
    """The image of real terminals, as `make image` builds it from the present sources."""
    problem = docker_problem()
    if problem:
        pytest.skip(f"no containers here: {problem}")
    with contextlib.closing(docker.from_env()) as client:
        try:
            client.images.get(image_name())
        except ImageNotFound:
            pytest.skip("the image of real terminals is not built: run make image")
    return image_name()


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program called terminal64.exe."""
    built = tmp_path_factory.mktemp("stand-in") / "terminal64.exe"
    try:
        compiler = program(COMPILER)
    except WineError as error:
        pytest.skip(str(error))
    version = built.with_suffix(".o")
    run("Compiling the version", [program("x86_64-w64-mingw32-windres"), HERE / "terminal64.rc", version])
    run("Compiling", [compiler, "-municode", "-mwindows", "-O2", "-s", "-o", built, HERE / "terminal64.c", version])
    return built


@pytest.fixture(scope="session", params=RUNTIMES)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    if request.param == "simulated":
        return SimulatedDriver()
    if request.param == "windows_process":
        return WindowsDoubleDriver(tmp_path_factory.mktemp("windows"))
    image, program = request.getfixturevalue("image"), request.getfixturevalue("stand_in")
    return WineContainerDriver(image, pack_template(tmp_path_factory.mktemp("template"), program))


@pytest.fixture
def stage(driver: Driver) -> Iterator[Stage]:
    made = Stage.open(driver)
    yield made
    made.close()
