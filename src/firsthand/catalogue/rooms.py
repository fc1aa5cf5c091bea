"""Which rooms exist and where they lie: our own folders, then rooms that other distributions bring.

Knows folders, slugs and entry points. Imports no room: a room's code is loaded by `Room.module`, when
someone asks for it. Of a card it knows only how to have it read; of records, only where they lie.

A distribution adds a room with an entry point of the group `firsthand.rooms`, whose name is the slug and
whose value is the room's package: `[project.entry-points."firsthand.rooms"] my-room = "acme.my_room"`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from firsthand.errors import InputError, MissingDependencyError, NotFoundError

if TYPE_CHECKING:  # at run time pydantic is loaded only once a card is read
    from importlib.metadata import EntryPoint

    from firsthand.catalogue.card import Card
    from firsthand.claims.model import Record
    from firsthand.claims.run import Subject

__all__ = ["DOMAINS", "ENTRY_POINT_GROUP", "Room", "all_rooms", "find_room", "room_slugs"]

log = logging.getLogger("firsthand.catalogue")

DOMAINS: tuple[tuple[str, str], ...] = (
    ("data", "choose, mix and collect what models are trained on"),
    ("training", "change what a model can do, or what it costs to run"),
    ("decoding", "get answers out of a model faster, or better ones for the same samples"),
    ("evaluation", "find out what a model knows, and when to believe it"),
    ("recommendation", "rank and generate what a user sees next"),
    ("query", "answer questions to a database sooner"),
    ("audio", "speech, songs and signals"),
    ("vision3d", "reconstruct, repair and make scenes and assets"),
    ("agents", "models that act, and what can go wrong"),
)

ENTRY_POINT_GROUP = "firsthand.rooms"
OWN_ORIGIN = "firsthand"
PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Room:
    """One system's place: its card, its package and its folder."""

    card: Card
    package: str  # "firsthand.data.preselect"
    folder: Path
    origin: str = OWN_ORIGIN  # "firsthand", or the distribution that brings the room

    @property
    def slug(self) -> str:
        """What a user types: "rds-plus"."""
        return self.card.slug

    @property
    def domain(self) -> str:
        """The domain the card names; an external room may name one of its own."""
        return self.card.domain

    @property
    def has_check(self) -> bool:
        """Whether the room has the experiment behind its claims."""
        return (self.folder / "check.py").is_file()

    @property
    def has_command(self) -> bool:
        """Whether the room has verbs."""
        return (self.folder / "command.py").is_file()

    @property
    def ready(self) -> bool:
        """Whether check, command and a laptop record exist; everything else is planned."""
        return self.has_check and self.has_command and self.record_path("laptop").is_file()

    @property
    def status(self) -> str:
        """ "ready" or "planned"."""
        return "ready" if self.ready else "planned"

    @property
    def results_folder(self) -> Path:
        """Where records lie: one folder of the package for our rooms, a folder of its own for any other."""
        own = self.origin == OWN_ORIGIN
        return PACKAGE_FOLDER / "results" / self.slug if own else self.folder / "results"

    def record_path(self, scale: str) -> Path:
        """The record of one scale; it need not exist."""
        return self.results_folder / f"{scale}.json"

    def subject(self) -> Subject:
        """The room as the runner of checks sees it; raises `InputError` for a room without a check."""
        from firsthand.claims.run import Subject

        if not self.has_check:
            raise InputError(
                f"{self.slug} is planned: it has no check yet (`firsthand list` shows which rooms are ready)"
            )
        card = self.card
        return Subject(card.slug, card.title, card.domain, card.claims, f"{self.package}.check", self.folder)

    def is_stale(self, record: Record) -> bool:
        """Whether the room's check, method or engines have changed since `record` was made."""
        from firsthand.claims.sources import source_hash

        return source_hash(f"{self.package}.check", self.card.claims) != record.source_hash

    def module(self, name: str = "") -> ModuleType:
        """Import the room's module `name` ("check", "command"), or the room itself if no name is given.

        Raises `NotFoundError` if the room has no such module, `MissingDependencyError` if the module needs
        a package that is not installed.
        """
        full = f"{self.package}.{name}" if name else self.package
        try:
            return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name == full:
                raise NotFoundError(
                    f"room {self.slug!r} ({self.status}) has no module {full}; its folder is {self.folder}"
                ) from error
            missing = (error.name or "").split(".")[0]
            if not missing or missing == self.package.split(".")[0]:
                raise  # one of the room's own imports is wrong; that is a fault in the room
            remedy = f"firsthand[{self.domain}]" if self.origin == OWN_ORIGIN else self.origin
            raise MissingDependencyError(
                f"{full} needs the package {missing!r}, which is not installed: pip install '{remedy}'"
            ) from error


def room_slugs(*, with_command: bool = False) -> tuple[str, ...]:
    """All slugs in listing order, from folder and entry-point names alone: reads no card.

    With `with_command`, only rooms that have a `command.py`. An external room whose card turns out to be
    broken is still among them.
    """
    folders: dict[str, Path | None] = {_slug_of(folder.name): folder for folder in _own_folders()}
    for entry in _entry_points():
        folders.setdefault(_slug_of(entry.name), _folder_or_none(entry.value) if with_command else None)
    if not with_command:
        return tuple(folders)
    return tuple(slug for slug, folder in folders.items() if folder and (folder / "command.py").is_file())


def all_rooms() -> tuple[Room, ...]:
    """Every room: ours by domain and then by name, then the external ones by name.

    Raises `InputError` if one of our own cards is wrong. A broken external room, or one whose slug is taken,
    is left out with a warning in the log: a stranger's fault must not take the listing down.
    """
    rooms = [_own_room(folder) for folder in _own_folders()]
    taken = {room.slug: room for room in rooms}
    for entry in _entry_points():
        room = _external_room(entry)
        if room is None:
            continue
        if room.slug in taken:
            _warn(entry, f"the slug {room.slug!r} is already taken by {taken[room.slug].origin}")
            continue
        taken[room.slug] = room
        rooms.append(room)
    return tuple(rooms)


def find_room(slug: str) -> Room:
    """The room that `slug` names (`_` is read as `-`); reads no other room's card.

    Raises `NotFoundError` that names the closest slugs, and `InputError` if the room is there but broken.
    """
    wanted = _slug_of(slug.strip().lower())
    for folder in _own_folders():
        if _slug_of(folder.name) == wanted:
            return _own_room(folder)
    broken = False
    for entry in _entry_points():
        if _slug_of(entry.name) == wanted:
            room = _external_room(entry)
            if room is not None:
                return room
            broken = True
    if broken:
        raise InputError(f"room {wanted!r} is installed but broken; the warning in the log says why")
    close = difflib.get_close_matches(wanted, room_slugs(), n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(close)}?" if close else "see `firsthand list`"
    raise NotFoundError(f"no room is called {slug!r}: {advice}")


def _slug_of(name: str) -> str:
    return name.replace("_", "-")


def _own_folders() -> Iterator[Path]:
    for domain, _ in DOMAINS:
        yield from sorted(card.parent for card in (PACKAGE_FOLDER / domain).glob("*/card.toml"))


def _own_room(folder: Path) -> Room:
    from firsthand.catalogue.card import read_card

    card = read_card(folder / "card.toml")
    expected = (_slug_of(folder.name), folder.parent.name)
    if (card.slug, card.domain) != expected:
        raise InputError(
            f"{folder / 'card.toml'}: slug {card.slug!r} and domain {card.domain!r} do not match the folder, "
            f"which says {expected[0]!r} and {expected[1]!r}"
        )
    return Room(card=card, package=f"firsthand.{folder.parent.name}.{folder.name}", folder=folder)


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value))


def _external_room(entry: EntryPoint) -> Room | None:
    """The room behind an entry point, or None with a warning."""
    from firsthand.catalogue.card import read_card

    try:
        folder = _package_folder(entry.value)
        card = read_card(folder / "card.toml")
        if card.slug != _slug_of(entry.name):
            raise InputError(f"its card says {card.slug!r} and its entry point {entry.name!r}")
    except Exception as error:  # whatever a stranger's package does, the listing goes on
        _warn(entry, f"{type(error).__name__}: {error}")
        return None
    return Room(card=card, package=entry.value, folder=folder, origin=_distribution(entry))


def _package_folder(package: str) -> Path:
    """The folder of a package, found without running any of its code.

    `find_spec` on a dotted name imports the parents, so only the first name is looked up and the rest is
    followed as folders.
    """
    top, *rest = package.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise NotFoundError(f"package {top!r} is not installed")
    for location in spec.submodule_search_locations or ():
        folder = Path(location).joinpath(*rest)
        if folder.is_dir():
            return folder.resolve()
    raise NotFoundError(f"{package!r} is not a package folder")


def _folder_or_none(package: str) -> Path | None:
    try:
        return _package_folder(package)
    except Exception:  # a stranger's package may fail in any way; `all_rooms` says how
        return None


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown"


def _warn(entry: EntryPoint, cause: str) -> None:
    log.warning("room %r of the distribution %r is left out: %s", entry.name, _distribution(entry), cause)
