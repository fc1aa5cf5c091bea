"""Runs the fenced blocks of a page, in order, as a reader would who types them into one folder.

    python docs/blocks.py docs/start.md [--json]

In a new folder that holds nothing but a link to `examples/`: `python` blocks share one namespace, `sh` blocks
get bash and the environment's commands, a `toml` block is written to the file that the line before it names
in backticks, a `text` block is the output of the block before. A block that cannot run has
`<!-- not run: REASON -->` on the line before it. One whose command goes on until it is stopped has
`<!-- serves: WORDS -->`: the next block runs once it has printed a line with these words, and it is ended at the
end of the page. Knows nothing of what a page is about.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RUN = ("python", "sh")
SHOWN = ("bibtex", "json")  # neither run nor written
LANGUAGES = (*RUN, *SHOWN, "toml", "text")
MARK = re.compile(r"<!-- not run: (\S.*) -->$")
SERVES = re.compile(r"<!-- serves: (\S.*) -->$")
PATIENCE_S = 300.0
NUMBER = re.compile(r"[-−+]?\d[\d.,]*(?:e[-+]\d+)?")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it is, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    code: str
    not_run: str = ""
    file: str = ""  # toml: where it is written
    serves: str = ""  # sh: what it prints when it is ready; it runs until the end of the page

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Ran:
    """What a block printed, and whether the text pasted below it still says so (None where none is)."""

    place: str
    language: str
    printed: str
    alike: float | None = None


def blocks_of(path: Path) -> list[Block]:
    """The fenced blocks of a Markdown file; ValueError for one that is open, of no known language or nameless."""
    try:
        page = path.resolve().relative_to(CHECKOUT).as_posix()
    except ValueError:
        page = path.name
    found: list[Block] = []
    before, fence, start, language, code = "", "", 0, "", list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        opening = re.match(r"^\s*(`{3,}|~{3,})\s*(\S*)", line)
        if not fence:
            if opening:
                fence, start, language, code = opening[1], number, opening[2], []
            elif line.strip():
                before = line.strip()
        elif opening and opening[1].startswith(fence) and not opening[2]:
            found.append(_block(page, start, language, textwrap.dedent("\n".join(code)) + "\n", before))
            before, fence = "", ""
        else:
            code.append(line)
    if fence:
        raise ValueError(f"{page}:{start}: the block is not closed")
    return found


def _block(page: str, line: int, language: str, code: str, before: str) -> Block:
    if language not in LANGUAGES:
        raise ValueError(f"{page}:{line}: a block of language {language!r}; there are {', '.join(LANGUAGES)}")
    mark = MARK.search(before)
    serves = SERVES.search(before)
    if serves and language != "sh":
        raise ValueError(f"{page}:{line}: only an sh block serves")
    names = re.findall(r"`([\w./-]+\.toml)`", before)
    if language == "toml" and not names and not mark:
        raise ValueError(f"{page}:{line}: the line before a toml block names its file in backticks")
    return Block(
        page, line, language, code,
        not_run=mark[1] if mark else "", file=names[-1] if names else "", serves=serves[1] if serves else "",
    )  # fmt: skip


def run_blocks(blocks: list[Block]) -> list[Ran]:
    """Run what runs, in the current folder; raises whatever a block raises, with its place in the message."""
    with contextlib.ExitStack() as servers:
        return _run_blocks(blocks, servers)


def _run_blocks(blocks: list[Block], servers: contextlib.ExitStack) -> list[Ran]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    ran: list[Ran] = []
    last: Block | None = None
    for block in blocks:
        if block.not_run or block.language in SHOWN:
            pass
        elif block.language == "toml":
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.code, encoding="utf-8")
        elif block.language == "text":
            if last is None:
                raise ValueError(f"{block.place}: output, and no block before it")
            if not last.not_run:
                alike = likeness(block.code, ran[-1].printed)
                ran[-1] = Ran(ran[-1].place, ran[-1].language, ran[-1].printed, alike)
        else:
            if block.serves:
                printed = servers.enter_context(_server(block))
            else:
                printed = _python(block, namespace) if block.language == "python" else _shell(block)
            ran.append(Ran(block.place, block.language, printed))
        if block.language in RUN:
            last = block
    return ran


def _python(block: Block, namespace: dict[str, Any]) -> str:
    # As many empty lines before it as in the page: a traceback then names the page's own line.
    code = compile("\n" * block.line + block.code, str(CHECKOUT / block.page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def _shell(block: Block) -> str:
    answer = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise RuntimeError(
            f"{block.place}: exit status {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
        )
    return answer.stdout


@contextlib.contextmanager
def _server(block: Block) -> Iterator[str]:
    """What a command printed until it was ready. It has to be running still when the page ends."""
    # Files and not pipes: a pipe that nobody reads stops a server that goes on printing.
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as complaints:
        server = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block.code],
            stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints, start_new_session=True,
        )  # fmt: skip

        def said(file: Any) -> str:
            return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")

        def fail(what: str) -> RuntimeError:
            return RuntimeError(f"{block.place}: {what}\n{said(printed)}\n{said(complaints)}")

        try:
            deadline = time.monotonic() + PATIENCE_S
            while block.serves not in said(printed):
                if server.poll() is not None:
                    raise fail(f"it ended with {server.returncode}, and has not said {block.serves!r}")
                if time.monotonic() > deadline:
                    raise fail(f"it has not said {block.serves!r} within {PATIENCE_S:g} s")
                time.sleep(0.05)
            yield said(printed)
            if server.poll() is not None:
                raise fail(f"it ended with {server.returncode} before it was stopped")
        finally:
            for stop in (signal.SIGTERM, signal.SIGKILL):  # an interrupt is ignored in the background
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, stop)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(60)
                    break


def likeness(pasted: str, printed: str) -> float:
    """The share of pasted lines that the block printed too, numbers and spacing aside."""
    there = Counter(map(_wording, printed.splitlines()))
    lines = [_wording(line) for line in pasted.splitlines() if line.strip()]
    return sum(there[line] > 0 for line in lines) / len(lines) if lines else 1.0


def _wording(line: str) -> str:
    return re.sub(r"\s+", "", NUMBER.sub("0", line))


def run_page(path: Path) -> dict[str, Any]:
    """Run a page's blocks in a new folder; its environment is this process's, with this Python's commands first."""
    from firsthand.launch.threads import ONE_THREAD

    blocks = blocks_of(path)
    os.environ.update(ONE_THREAD)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "examples").symlink_to(CHECKOUT / "examples")
        os.chdir(folder)
        try:
            ran = run_blocks(blocks)
        finally:
            os.chdir(here)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "ran": [asdict(one) for one in ran],
        "not_run": {block.place: block.not_run for block in blocks if block.not_run},
        "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in spent),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = run_page(arguments.page)
    if arguments.json:
        print(json.dumps(report))
        return
    for one in report["ran"]:
        alike = "" if one["alike"] is None else f", {one['alike']:.0%} of the pasted lines printed"
        print(f"--- {one['place']} ({one['language']}{alike})\n{one['printed']}")
    print(f"{report['cpu_seconds']:.1f} CPU-seconds; not run: {report['not_run'] or 'none'}")


if __name__ == "__main__":
    main()
