"""A genuine Windows CPython for Wine, assembled from packages of the registry and this machine's own Python.

The official MetaTrader5 package is a Windows extension module. The interpreter's DLL and the compiled part of its
standard library come from the `deploy_libs` folder of the panda3d wheel, the Python part of the standard library from
the Python that runs this, and `python.exe` is a few lines of C. All wheels are pinned with hashes in requirements.txt.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from provisioning.wine.tools import COMPILER, Report, WineError, program, run

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
LAUNCHER: Final = Path(__file__).with_name("python.c")
_READY: Final = ".mt5farm-ready"
_INTERPRETER: Final = "panda3d"
_DIGITS: Final = f"{sys.version_info.major}{sys.version_info.minor}"
# Wine has its own of the first kind; nothing here opens windows.
_UNWANTED_LIBRARIES: Final = ("api-ms-", "tcl", "tk", "_tkinter", "winsound", "_msi")
_UNWANTED_MODULES: Final = (
    "__pycache__", "site-packages", "lib-dynload", "config-*", "test", "tests", "idlelib", "tkinter", "turtledemo",
    "ensurepip", "lib2to3", "_sysconfigdata_*", "*.so",
)  # fmt: skip


def make_windows_python(folder: Path, report: Report) -> Path:
    """Assemble the Windows Python in `folder` unless it is there already; gives the path of python.exe.

    Downloads about 80 MB. Raises WineError.
    """
    folder = folder.absolute()
    recipe = _recipe()
    ready = folder / _READY
    if ready.exists() and ready.read_text(encoding="ascii") == recipe:
        return folder / "python.exe"
    program(COMPILER)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: a folder of that name is always complete.
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as building:
        wheels, made = Path(building) / "wheels", Path(building) / "python"
        made.mkdir()
        report("Downloading the Windows wheels (80 MB) ...")
        download_wheels(REQUIREMENTS, wheels)
        report("Assembling the Windows Python ...")
        _unpack_interpreter(wheels, made)
        _copy_standard_library(made / "Lib")
        _compile_launcher(made / "python.exe")
        install_wheels(wheels, made / "Lib" / "site-packages")
        (made / _READY).write_text(recipe, encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder / "python.exe"


def _recipe() -> str:
    """What the result depends on; another value means that it must be made anew."""
    parts = (Path(__file__).read_bytes(), REQUIREMENTS.read_bytes(), LAUNCHER.read_bytes(), sys.version.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def download_wheels(requirements: Path, wheels: Path) -> None:
    """Fetch the Windows wheels that a pinned list names into `wheels`. Raises WineError."""
    try:
        version("pip")
    except PackageNotFoundError as error:
        raise WineError("This Python has no pip; run it from an environment made by `python3 -m venv`.") from error
    run(
        "Downloading the Windows wheels",
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--require-hashes", "--requirement", requirements, "--dest", wheels, "--only-binary=:all:",
            "--platform", "win_amd64", "--python-version", _DIGITS, "--implementation", "cp",
            "--abi", f"cp{_DIGITS}", "--abi", "abi3", "--abi", "none",
        ],
    )  # fmt: skip


def _unpack_interpreter(wheels: Path, made: Path) -> None:
    libraries = made / "DLLs"
    libraries.mkdir()
    found = sorted(wheels.glob(f"{_INTERPRETER}-*.whl"))
    if not found:
        raise WineError(f"The requirements name no {_INTERPRETER}, whose wheel holds the interpreter.")
    with zipfile.ZipFile(found[0]) as wheel:
        for member in wheel.infolist():
            folder, _, name = member.filename.rpartition("/")
            if folder != "deploy_libs" or name.lower().startswith(_UNWANTED_LIBRARIES):
                continue
            # Extension modules go where the interpreter looks for them, libraries beside the program.
            target = libraries / name if name.endswith(".pyd") else made / name
            target.write_bytes(wheel.read(member))
    if not (made / f"python{_DIGITS}.dll").exists():
        raise WineError(f"{found[0].name} holds no python{_DIGITS}.dll.")


def _copy_standard_library(target: Path) -> None:
    shutil.copytree(
        sysconfig.get_path("stdlib"), target, ignore=shutil.ignore_patterns(*_UNWANTED_MODULES), symlinks=False
    )
    (target / "site-packages").mkdir()


def _compile_launcher(target: Path) -> None:
    name = f'-DPYTHON_DLL=L"python{_DIGITS}.dll"'
    run("Compiling python.exe", [COMPILER, "-O2", "-municode", "-s", name, "-o", target, LAUNCHER])


def install_wheels(wheels: Path, site_packages: Path) -> None:
    """Unpack them, all but the interpreter's, without their tests."""
    for wheel in sorted(wheels.glob("*.whl")):
        if wheel.name.startswith(f"{_INTERPRETER}-"):
            continue
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site_packages)
    for folder, names, _ in os.walk(site_packages):
        # Tests of the packages are half of their size.
        for name in {"tests"} & set(names):
            shutil.rmtree(Path(folder) / name)
            names.remove(name)
