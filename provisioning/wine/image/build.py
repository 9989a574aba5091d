"""Builds the image, once for each content of its parts: the tag is their digest."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import docker
from docker.errors import BuildError, DockerException, ImageNotFound

from provisioning.wine.tools import Report, WineError, run
from provisioning.wine.windows_python import make_windows_python

HERE: Final = Path(__file__).parent
NAME: Final = "mt5farm/terminal"
BASE: Final = "debian:bookworm-slim"
LABEL: Final = "org.mt5farm.tested"
"""Of the image: the versions that were tested together, as JSON."""
_RECIPE: Final = ("Dockerfile", "requirements.txt", "tested.json")
_WINDOWS_RECIPE: Final = tuple(HERE.parent / name for name in ("windows_python.py", "python.c", "requirements.txt"))
_NOT_IN_IMAGE: Final = frozenset({"simulated", "strategies", "history", "client", "cli.py"})


def image_name() -> str:
    """The image of these sources. Another one means that something of it has changed."""
    digest = hashlib.sha256(sys.version.encode())
    recipe = {name: HERE / name for name in _RECIPE} | {f"windows/{path.name}": path for path in _WINDOWS_RECIPE}
    for name, path in sorted((recipe | _sources()).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{NAME}:{digest.hexdigest()[:16]}"


def _sources() -> dict[str, Path]:
    """Our own code in the image, by its place there."""
    bridge = importlib.util.find_spec("mt5_bridge")
    if bridge is None or bridge.origin is None:
        raise WineError("The bridge, which goes into the image, is not installed here.")
    packages = Path(bridge.origin).parents[1], HERE.parents[2]
    wine = ["provisioning/__init__.py", *(f"provisioning/wine/{name}.py" for name in ("__init__", "prefix", "tools"))]
    image = [*HERE.glob("__init__.py"), *HERE.glob("seat/*.py")]
    worker = [
        path
        for path in (packages[0] / "mt5_bridge").rglob("*.py")
        if path.relative_to(packages[0]).parts[1] not in _NOT_IN_IMAGE
    ]
    return (
        {name: packages[1] / name for name in wine}
        | {str(path.relative_to(packages[1])): path for path in image}
        | {str(path.relative_to(packages[0])): path for path in worker}
    )


def build_image(cache: Path, report: Report, base: str = BASE) -> str:
    """Build the image unless this machine has it; gives its name. `cache` keeps the Windows Python (80 MB).

    Takes about two minutes and downloads about 400 MB. Raises WineError.
    """
    name = image_name()
    client = _client()
    try:
        client.images.get(name)
    except ImageNotFound:
        with tempfile.TemporaryDirectory(prefix="mt5farm-image-") as folder:
            _lay_out(Path(folder), cache, report)
            report(f"Building {name} ...")
            _build(client, Path(folder), name, base)
    finally:
        client.close()
    return name


def _client() -> docker.DockerClient:
    try:
        client = docker.from_env(timeout=900)
        client.ping()
    except DockerException as error:
        raise WineError("Docker does not answer; start its daemon, and use an account that may use it.") from error
    return client


def _build(client: docker.DockerClient, context: Path, name: str, base: str) -> None:
    tested = json.loads((HERE / "tested.json").read_text(encoding="utf-8"))
    try:
        client.images.build(
            path=str(context),
            tag=name,
            rm=True,
            forcerm=True,
            buildargs={"BASE": base, "WINE": tested["wine"], "X11VNC": tested["x11vnc"]},
            labels={LABEL: json.dumps(tested, sort_keys=True)},
        )
    except BuildError as error:
        last = [str(line.get("stream") or line.get("error") or "").strip() for line in error.build_log]
        words = [line for line in last if line][-3:]
        raise WineError(f"The image cannot be built: {' / '.join(words) or error}") from error
    except DockerException as error:
        raise WineError(f"The image cannot be built: {error}") from error


def _lay_out(context: Path, cache: Path, report: Report) -> None:
    python = make_windows_python(cache / "python", report).parent
    shutil.copytree(python, context / "python")
    for name in _RECIPE:
        shutil.copy2(HERE / name, context / name)
    for name, path in _sources().items():
        target = context / "app" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    report("Downloading the wheels of the worker ...")
    run(
        "Downloading the wheels of the worker",
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--require-hashes", "--requirement", HERE / "requirements.txt", "--dest", context / "wheels",
            "--only-binary=:all:", "--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64",
            "--python-version", "311", "--implementation", "cp",
        ],
    )  # fmt: skip
