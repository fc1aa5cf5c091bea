"""What a system is: the schema of `card.toml`.

A card is facts about a paper in our own words. It knows nothing of code: whether a room is *ready* is a
question about its folder (`catalogue.rooms`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from firsthand.claims.model import Claim
from firsthand.errors import InputError, NotFoundError

__all__ = ["Card", "Figure", "Peer", "read_card"]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Data):
    """A headline number of the paper, as far as our sheet vouches for it."""

    setting: str
    metric: str
    control: str = ""
    value: str  # as printed, with its unit
    source: str = "unverified"  # where it was read: "table 2", "abstract", "repository README"


class Peer(_Data):
    """Another implementation a user could pick, and what it does or lacks."""

    name: str
    url: str = ""
    note: str = ""


class Card(_Data):
    """One system of the digest."""

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    name: str = Field(min_length=1)  # what people call it: "PreSelect"
    title: str = Field(min_length=1)
    arxiv: str = Field(pattern=r"^\d{4}\.\d{4,5}$")
    venue: str = ""
    authors: tuple[str, ...] = ()
    author_order: Literal["digest", "paper"] = "digest"  # a digest may shuffle its authors
    domain: str
    summary: str = Field(min_length=1)  # two to four sentences, our own words; the first can stand alone
    figures: tuple[Figure, ...] = ()
    claims: tuple[Claim, ...] = ()
    peers: tuple[Peer, ...] = ()
    bibtex: str

    @field_validator("summary")
    @classmethod
    def _one_line(cls, summary: str) -> str:
        """The file wraps its lines where it likes; whoever prints a summary wraps it anew."""
        return " ".join(summary.split())

    @field_validator("bibtex")
    @classmethod
    def _entry(cls, bibtex: str) -> str:
        bibtex = bibtex.strip()
        if not bibtex.startswith("@") or not bibtex.endswith("}") or bibtex.count("{") != bibtex.count("}"):
            raise ValueError("not one BibTeX entry: it starts with @, ends with } and balances its braces")
        return bibtex

    @model_validator(mode="after")
    def _one_primary(self) -> Card:
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) != len(ids):
            raise ValueError(f"claim ids repeat: {ids}")
        primaries = [claim.id for claim in self.claims if claim.primary]
        if self.claims and len(primaries) != 1:
            raise ValueError(f"a card has one primary claim, this one has {len(primaries)}: {primaries}")
        return self


def read_card(path: Path) -> Card:
    """Read and validate one `card.toml`.

    Raises `InputError` naming file and cause, and `NotFoundError` if there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such card") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    try:
        return Card.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError(f"{path}: {error}") from error
