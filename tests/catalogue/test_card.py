"""Cards: what is refused, and what every one of ours must say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from firsthand.catalogue.card import Card, read_card
from firsthand.catalogue.render import first_sentence
from firsthand.catalogue.rooms import Room, all_rooms
from firsthand.errors import InputError, NotFoundError

from .conftest import CARD, CLAIMS, card_with

ROOMS = [room for room in all_rooms() if room.origin == "firsthand"]
UNMEASURED = {"id": "a", "sentence": "s", "measured": False, "reason": "r"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"slug": "Sock_Sorter"}, "slug"),
        ({"arxiv": "3105.1"}, "arxiv"),
        ({"arxiv": "3105.00001v2"}, "arxiv"),
        ({"name": ""}, "name"),
        ({"summary": ""}, "summary"),
        ({"bibtex": "misc{socks}"}, "BibTeX"),
        ({"bibtex": "@misc{socks, title = {Socks}"}, "BibTeX"),
        ({"author_order": "alphabetical"}, "author_order"),
        ({"subtitle": "unknown"}, "subtitle"),
        ({"figures": [{"setting": "s", "metric": "m"}]}, "value"),
        ({"peers": [{"name": "n", "homepage": "h"}]}, "homepage"),
        ({"claims": [UNMEASURED]}, "primary"),
        ({"claims": [{**UNMEASURED, "primary": True}] * 2}, "repeat"),
    ],
)
def test_wrong_cards_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        Card.model_validate(card_with(**changes))


def test_read_card_names_file_and_cause(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    with pytest.raises(NotFoundError, match=r"card\.toml"):
        read_card(path)
    path.write_text("slug = ", encoding="utf-8")
    with pytest.raises(InputError, match=r"card\.toml.*Invalid value"):
        read_card(path)
    path.write_text(CARD.replace("3105.00001", "none"), encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)card\.toml.*arxiv"):
        read_card(path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match="UTF-8"):
        read_card(path)


def test_a_good_card_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(CARD + CLAIMS, encoding="utf-8")
    card = read_card(path)
    assert card.summary == "Finds the pairs in a heap of socks. You get a drawer in order."
    assert [claim.id for claim in card.claims] == ["pairs", "joy"]
    assert card.author_order == "digest"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.slug)
def test_every_card_of_ours_is_complete(room: Room) -> None:
    card = room.card
    assert 2 <= len(re.findall(r"[.!?](?=\s+[A-Z]|$)", card.summary)) <= 4
    assert 40 <= len(first_sentence(card.summary)) <= 170  # it stands alone in the README's table
    assert 3 <= len(card.figures) <= 8
    assert card.authors
    assert len(set(card.authors)) == len(card.authors)
    assert len({(f.setting, f.metric, f.control) for f in card.figures}) == len(card.figures)
    assert all(figure.source for figure in card.figures)
    assert len(card.peers) >= 3
    assert any(peer.url for peer in card.peers)
    assert all(peer.note for peer in card.peers)
    assert all(peer.url.startswith("https://") for peer in card.peers if peer.url)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.slug)
def test_bibtex_agrees_with_the_card(room: Room) -> None:
    card = room.card
    fields = dict(re.findall(r"(?s)(\w+) = \{(.*?)\},?\n", card.bibtex))
    assert fields["title"].strip("{}") == card.title
    assert fields["eprint"] == card.arxiv
    assert fields["archivePrefix"] == "arXiv"
    assert fields["year"] == "2025"
    assert tuple(" ".join(fields["author"].split()).split(" and ")) == card.authors
    assert card.bibtex.startswith("@inproceedings{" if "booktitle" in fields else "@misc{")


def test_citation_keys_are_unique() -> None:
    keys = [re.match(r"@\w+\{([^,]+),", room.card.bibtex)[1] for room in ROOMS]  # type: ignore[index]
    assert len(set(keys)) == len(keys) == 27
