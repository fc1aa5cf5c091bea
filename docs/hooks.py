"""What MkDocs asks while it builds: pages that are made from other files, and their place in the navigation.

`system_pages` writes the pages of the systems; "How to add a room" is CONTRIBUTING.md itself. Knows MkDocs'
events and nothing of what a page says.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import system_pages
from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from firsthand.catalogue.rooms import OWN_ORIGIN, Room, all_rooms

SYSTEMS = "systems"
CONTRIBUTING = "contributing.md"


def _rooms() -> list[Room]:
    return [room for room in all_rooms() if room.origin == OWN_ORIGIN]


def _checkout(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).resolve().parent


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the systems under their heading, by domain, ready ones first; label the cells of tables."""
    listed: list[Any] = [f"{SYSTEMS}/index.md"]
    for domain, _, rooms in system_pages.by_domain(_rooms()):
        listed.append({domain: [{room.card.name: f"{SYSTEMS}/{room.slug}.md"} for room in rooms]})
    for entry in config.nav or []:
        if SYSTEMS.title() in entry:
            entry[SYSTEMS.title()] = listed
    config.markdown_extensions.append(LabelledCells())
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for every system that has no hand-written one, the list of all, and CONTRIBUTING.md."""
    rooms = _rooms()
    for room in rooms:
        uri = f"{SYSTEMS}/{room.slug}.md"
        if files.get_file_from_path(uri) is not None:
            continue
        if room.ready:
            raise PluginError(f"{room.slug} is ready and has no page: write docs/{uri}")
        files.append(File.generated(config, uri, content=system_pages.planned_page(room)))
    files.append(File.generated(config, f"{SYSTEMS}/index.md", content=system_pages.systems_page(rooms)))
    # Links of that file start at the checkout, those of a page in docs/.
    text = (_checkout(config) / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, CONTRIBUTING, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Complete the hand-written page of a system with what is generated."""
    uri = page.file.src_uri
    room = {f"{SYSTEMS}/{room.slug}.md": room for room in _rooms()}.get(uri)
    if room is not None:
        page.meta.setdefault("status", room.status)
    if room is None or page.file.generated_by:
        return markdown
    try:
        return system_pages.composed_page(room, markdown, _checkout(config))
    except system_pages.PageError as fault:
        raise PluginError(str(fault)) from fault


class _LabelCells(Treeprocessor):
    def run(self, root: Element) -> None:
        """Write each column's name beside its cells: on a phone the rows of a table become blocks."""
        for table in root.iter("table"):
            names = [re.sub(r"\s+", " ", "".join(head.itertext())) for head in table.iter("th")]
            for row in table.iter("tr"):
                for name, cell in zip(names, row.findall("td"), strict=False):
                    cell.set("data-label", name)


class LabelledCells(Extension):
    """Markdown's tables as `system_pages.html_table` writes them."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Markdown's own name)
        """Run after inline marks have become elements."""
        md.treeprocessors.register(_LabelCells(md), "labelled-cells", 5)
