"""The Windows Python with everything that the node agent imports, and pytest: for tests of the agent under Wine.

It is a copy of the Python of `windows_python` (120 MB) with more wheels and two libraries that those wheels
look for: `python3.dll`, the stable ABI, which hands every name on to the interpreter's DLL, and `bcryptprimitives.dll`,
which Wine 8 lacks. A node that runs Windows needs none of this.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from provisioning.wine.tools import COMPILER, Report, WineError, program, run
from provisioning.wine.windows_python import download_wheels, install_wheels

REQUIREMENTS: Final = Path(__file__).with_name("agent_requirements.txt")
RANDOM: Final = Path(__file__).with_name("random_numbers.c")
_OBJDUMP: Final = "x86_64-w64-mingw32-objdump"
_READY: Final = ".mt5farm-ready"
_INTERPRETER: Final = f"python{sys.version_info.major}{sys.version_info.minor}"
_EXPORTED: Final = re.compile(r"^\s*\[\s*\d+\](?:\s+\+base\[\s*\d+\])?(?:\s+[0-9a-f]+)?\s+(_?Py\w+)$", re.MULTILINE)


def make_agent_python(folder: Path, base: Path, report: Report) -> Path:
    """Assemble it in `folder` from the Python in `base` unless it is there; gives the path of python.exe.

    Downloads about 10 MB. Raises WineError.
    """
    folder, base = folder.absolute(), base.absolute()
    recipe = _recipe(base)
    ready = folder / _READY
    if ready.exists() and ready.read_text(encoding="ascii") == recipe:
        return folder / "python.exe"
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as building:
        wheels, made = Path(building) / "wheels", Path(building) / "python"
        report("Downloading the agent's Windows wheels (10 MB) ...")
        download_wheels(REQUIREMENTS, wheels)
        shutil.copytree(base, made)
        install_wheels(wheels, made / "Lib" / "site-packages")
        _compile_stable_abi(made, Path(building))
        run("Compiling bcryptprimitives.dll", [
            program(COMPILER), "-shared", "-O2", "-s", "-o", made / "bcryptprimitives.dll", RANDOM, "-ladvapi32",
        ])  # fmt: skip
        (made / _READY).write_text(recipe, encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder / "python.exe"


def _recipe(base: Path) -> str:
    parts = (Path(__file__).read_bytes(), REQUIREMENTS.read_bytes(), RANDOM.read_bytes(), (base / _READY).read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _compile_stable_abi(made: Path, building: Path) -> None:
    listing = run("Reading the interpreter's exports", [program(_OBJDUMP), "-p", made / f"{_INTERPRETER}.dll"])
    names = sorted(set(_EXPORTED.findall(listing)))
    if "PyObject_Call" not in names:
        raise WineError(f"{_INTERPRETER}.dll does not export what an interpreter has.")
    lines = ["LIBRARY python3", "EXPORTS", *(f"{name}={_INTERPRETER}.{name}" for name in names)]
    definition, empty = building / "python3.def", building / "python3.c"
    definition.write_text("\n".join(lines), encoding="ascii")
    empty.touch()
    run("Compiling python3.dll", [
        program(COMPILER), "-shared", "-nostdlib", "-s", "-Wl,--entry=0", "-o", made / "python3.dll", empty, definition,
    ])  # fmt: skip
