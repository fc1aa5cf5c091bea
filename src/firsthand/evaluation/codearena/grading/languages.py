"""Programming languages as files: how a source is called, compiled, run, and how its runtime behaves.

Each `languages/NAME.toml` is one language; another file adds another language, without code. A language knows nothing
of the sandbox; `installed` says whether its programs are where the sandbox shows them (`/usr` and `/bin`).
"""

from __future__ import annotations

import shlex
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import UnsupportedLanguage
from firsthand.evaluation.codearena.sandbox.bubblewrap import PROGRAM_PATH
from firsthand.evaluation.codearena.sandbox.limits import Limits

__all__ = ["ARTEFACT", "COMPILE_LIMITS", "Language", "find_language", "languages", "read_language"]

# The file of the box that holds what a compiler made.
ARTEFACT = "program"
COMPILE_LIMITS = Limits(
    cpu_s=30, wall_s=60, memory_mb=1024, processes=128, output_kb=65536, file_mb=256, open_files=512
)
_FOLDER = Path(__file__).parent / "languages"


class Language(BaseModel):
    """One language. A file has the same keys, with hyphens, except `slug`.

    Attributes:
        slug: the file's name without `.toml`, for addresses and databases.
        name: as people and the published client write it, such as `Python 3`.
        aliases: other names that `find_language` takes.
        source: what the source file is called in `/box`.
        compile: commands, one after the other, that make `artefact`; none for a language that is not compiled.
        artefact: the file below `/tmp` that they leave; it becomes `/box/program`.
        run: the command that runs a solution; `{heap_mb}` and `{memory_mb}` stand for what it may use.
        check: for a language that is not compiled, a command that fails where a source cannot be read at all.
        version: a command that says which compiler or runtime this is.
        needs: the programs that have to be installed.
        visible: more paths that its programs read.
        environment: variables for its programs.
        time_factor: what a problem's time limit is multiplied by.
        extra_memory_mb: what a runtime takes for itself, added to a problem's memory limit.
        extra_processes: threads that a runtime keeps for itself, added to the limit on processes.
        heap_share: the part of the memory limit that `{heap_mb}` stands for.
        out_of_memory: what its runtime writes to standard error when its heap is full.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    slug: str = Field(pattern=r"^[a-z0-9_+-]+$")
    name: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    source: str = Field(pattern=r"^[A-Za-z0-9_]+\.[A-Za-z0-9]+$")
    compile: tuple[tuple[str, ...], ...] = ()
    artefact: str = Field(default="", pattern=r"^(/tmp/.+)?$")
    run: tuple[str, ...] = Field(min_length=1)
    check: tuple[str, ...] = ()
    version: tuple[str, ...] = Field(min_length=1)
    needs: tuple[str, ...] = Field(min_length=1)
    visible: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    time_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    extra_memory_mb: int = Field(default=0, ge=0)
    extra_processes: int = Field(default=0, ge=0)
    heap_share: float = Field(default=0.75, gt=0, le=1)
    out_of_memory: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Language:
        if bool(self.compile) != bool(self.artefact):
            raise ValueError("compile and artefact belong together, and one is given without the other")
        if self.compile and self.check:
            raise ValueError("check is for languages without compile")
        try:
            self.run_command(Limits())
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError("run: only {heap_mb} and {memory_mb} may stand in braces") from error
        return self

    @property
    def extension(self) -> str:
        """Of a source file, with the dot."""
        return Path(self.source).suffix

    def limits(self, time_ms: float, memory_kb: int) -> Limits:
        """A problem's limits for this language; the guard on wall time is thrice the processor time and 2 s."""
        cpu_s = time_ms * self.time_factor / 1e3
        return Limits(
            cpu_s=cpu_s,
            wall_s=3 * cpu_s + 2,
            memory_mb=-(-memory_kb // 1024) + self.extra_memory_mb,
            processes=Limits().processes + self.extra_processes,
        )

    def run_command(self, limits: Limits) -> list[str]:
        """The command that runs a solution within these limits."""
        heap_mb = int(self.heap_share * limits.memory_mb)
        return [part.format(heap_mb=heap_mb, memory_mb=limits.memory_mb) for part in self.run]

    def compile_command(self) -> list[str]:
        """One command that compiles and writes what was made to standard output; messages go to standard error."""
        steps = " && ".join(shlex.join(step) for step in self.compile)
        return ["/bin/sh", "-c", f"{{ {steps}; }} >&2 && cat {shlex.quote(self.artefact)}"]

    @property
    def missing(self) -> list[str]:
        """Programs that it needs and that are not in the folders that the sandbox shows."""
        return [program for program in self.needs if shutil.which(program, path=PROGRAM_PATH) is None]

    @property
    def installed(self) -> bool:
        """Whether this machine can judge it."""
        return not self.missing


def read_language(path: Path) -> Language:
    """Read a language's file; raises `InputError` that names file, key and fault."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        if "slug" in given:
            raise InputError(f"{path}: slug: the file's name says it")
        return Language.model_validate({**given, "slug": path.stem})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise InputError(f"{path}: {'; '.join(faults)}") from error


@cache
def languages(folder: Path = _FOLDER) -> Mapping[str, Language]:
    """All languages of a folder by slug, installed here or not."""
    return {path.stem: read_language(path) for path in sorted(folder.glob("*.toml"))}


def find_language(name: str, known: Mapping[str, Language] | None = None) -> Language:
    """The language of a slug, name or alias, small and capital letters alike.

    Raises:
        UnsupportedLanguage: none is called so; the message lists those there are.
    """
    known = languages() if known is None else known
    wanted = name.strip().casefold()
    for language in known.values():
        if wanted in _names(language):
            return language
    listed = ", ".join(language.name for language in known.values())
    raise UnsupportedLanguage(f"{name!r}: no such language; there are {listed}")


def _names(language: Language) -> Sequence[str]:
    return [each.casefold() for each in (language.slug, language.name, *language.aliases)]
