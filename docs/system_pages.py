"""The page of a system, as Markdown: what its card, records, benchmark, features, command and docstrings say.

Knows a room and the files that belong to it, and nothing of MkDocs (`hooks` hands the text over). No figure
is typed here or in a hand-written page: verdicts come from the shipped records, ratios from the benchmark's
file, facts about the paper from the card. Everything but headings, BibTeX and the API's placeholders is HTML
with its text escaped, because Markdown would read signs in a sentence as marks.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from xml.sax.saxutils import quoteattr

from firsthand.catalogue.render import first_sentence, latest_verdicts, public_names, room_record
from firsthand.catalogue.rooms import DOMAINS, Room
from firsthand.claims.board_view import ClaimView, ClauseView, RecordView, claim_views, record_view
from firsthand.claims.scales import format_number

__all__ = ["PageError", "composed_page", "parts", "planned_page", "systems_page"]

SCALES = ("laptop", "gpu", "paper")  # in this order on the page; smoke gives no verdict
GLYPHS = {"holds": "✓", "fails": "✗", "inconclusive": "◐"}  # colour only repeats what word and glyph say
PLACE = re.compile(r"^<!-- here: ([\w-]+) -->$", re.MULTILINE)


class PageError(ValueError):
    """A hand-written page that cannot be completed; the message says why."""


def planned_page(room: Room) -> str:
    """The page of a room that has nothing but its card."""
    note = (
        '!!! note "Planned"\n\n'
        "    This room has no check and no command yet. What stands here is the catalogue's card: facts about "
        f"the paper, nothing that we measured. `firsthand show {room.slug}` prints the same.\n"
    )
    found = {"head": head(room), "note": note, **card_parts(room)}
    return "\n\n".join([f"# {_title(room.card.name)}", *filter(None, found.values())]) + "\n"


def composed_page(room: Room, written: str, checkout: Path) -> str:
    """A hand-written page with the card's head below its title and every generated part in its place.

    A line `<!-- here: PART -->` marks a place; what no line asks for follows at the end, in order.
    Raises `PageError` for a page without a title and for a part that is unknown or asked for twice.
    """
    title = re.match(r"# [^\n]+\n", written)
    if title is None:
        raise PageError(f"the page of {room.slug} must begin with its title, a line '# ...'")
    generated = parts(room, checkout)
    asked = PLACE.findall(written)
    for name in asked:
        if name not in generated:
            raise PageError(f"{room.slug}: no part is called {name!r}; there are {', '.join(generated)}")
        if asked.count(name) > 1:
            raise PageError(f"{room.slug}: the part {name!r} is asked for twice")
    body = PLACE.sub(lambda match: generated[match[1]], written[title.end() :])
    rest = [text for name, text in generated.items() if name not in asked and text]
    return "\n\n".join([title[0].strip(), head(room), body.strip(), *rest]) + "\n"


def parts(room: Room, checkout: Path) -> dict[str, str]:
    """Name → Markdown of everything generated, in the order of a page; empty where a room has none of it."""
    return {
        "claims": claims_part(room),
        "benchmark": benchmark_part(checkout / "benchmarks" / "results" / f"{room.slug}.json"),
        "features": features_part(room.folder / "features.toml"),
        "command": command_part(room) if room.has_command else "",
        "python": python_part(room),
        **card_parts(room),
    }


def card_parts(room: Room) -> dict[str, str]:
    """The paper's figures, peers and BibTeX, which every card has; and its claims while none is measured."""
    return {
        "figures": _figures(room),
        "stated": "" if room.ready else _stated(room),
        "peers": _peers(room),
        "cite": f"## How to cite\n\n`firsthand cite {room.slug}` prints:\n\n```bibtex\n{room.card.bibtex}\n```",
    }


def head(room: Room) -> str:
    """What the paper is and what the system does, below the title."""
    card = room.card
    arxiv = f'<a href="https://arxiv.org/abs/{card.arxiv}">arXiv {card.arxiv}</a>'
    facts = [f'<span class="status is-{room.status}">{room.status}</span>', escape(room.domain), arxiv]
    facts += [escape(card.venue)] if card.venue else []
    order = " (in the digest's order)" if card.author_order == "digest" else ""
    authors = f'<p class="authors">{escape(", ".join(card.authors))}{order}</p>' if card.authors else ""
    return (
        f'<p class="facts">{" · ".join(facts)}</p>\n<p class="paper-title">{escape(card.title)}</p>\n{authors}\n\n'
        f'<p class="summary">{escape(card.summary)}</p>'
    )


def claims_part(room: Room) -> str:
    """Every claim with what the shipped records say, scale by scale; and how the check goes about it."""
    check = room.folder / "check.py"
    sections = []
    for scale in SCALES:
        record = room_record(room, scale)
        if record is None or record.exploratory:
            continue
        run = record_view(record, stale=room.is_stale(record), fresh=False)
        views = claim_views(record, f"{room.slug}-{scale}")
        sections.append(_recorded(room, run, views))
    if not sections and not check.is_file():
        return ""
    if not sections:
        sections = ["There is a check and no record of it yet.", _stated(room)]
    said = ast.get_docstring(ast.parse(check.read_text(encoding="utf-8"))) if check.is_file() else None
    how = f"### How the check goes about it\n\n{said}" if said else ""
    return "\n\n".join(["## What we measured", *sections, how]).rstrip()


def _recorded(room: Room, run: RecordView, views: Sequence[ClaimView]) -> str:
    record = run.record
    where = record.environment
    cores = f"{where.cores} core{'' if where.cores == 1 else 's'}"
    facts = {
        "scale": record.scale,
        "seeds": run.seeds,
        "CPU time": run.cpu,
        "wall time": run.wall,
        "peak memory": run.memory,
        "machine": f"{where.processor}, {cores}, {where.device}, {where.dtype}",
        "load before": f"{record.load_average:.2f}",
        "recorded": f"{run.when} UTC",
    }
    said = "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value
    )
    stale = (
        '!!! warning "Stale"\n\n    The room\'s check, method or engines have changed since this record was made. '
        f"`firsthand check {room.slug} --scale {record.scale}` measures again.\n\n"
    )
    rows = [(_claim_cell(view), _measured_cell(view), _verdict_cell(view)) for view in views]
    table = html_table(("claim", "measured", "verdict"), rows, kind="claims")
    return (
        f"{stale if run.stale else ''}`firsthand check {room.slug} --scale {record.scale}`, as recorded; "
        f"how to read it: [verdicts](../verdicts.md).\n\n{table}\n\n<dl class='run'>{said}</dl>"
    )


def _claim_cell(view: ClaimView) -> str:
    claim = view.claim
    mark = ' <span class="primary">primary</span>' if claim.primary else ""
    version = f", version {claim.version}: {claim.version_reason}" if claim.version > 1 else ""
    lines = [f'<span id="{claim.id}"><code>{claim.id}</code></span>{mark}<br>{escape(claim.sentence)}']
    lines += [f'<span class="aside">{escape(claim.note)}</span>'] if claim.note else []
    lines += [f'<span class="aside">paper: {escape(view.paper)}</span>'] if view.paper else []
    lines += [f'<span class="aside">{claim.id}{escape(version)}</span>'] if version else []
    return "<br>".join(lines)


def _measured_cell(view: ClaimView) -> str:
    if not view.claim.measured:
        return '<span class="aside">nothing</span>'
    units = f'<span class="aside">{escape(view.n)}</span>' if view.n else ""
    return "".join(_clause(clause) for clause in view.clauses) + units


def _clause(clause: ClauseView) -> str:
    bounds = f"{escape(clause.names[1])}: {escape(clause.interval)}" if clause.interval else "no interval"
    # The strip above its axis is drawn for the board; here it repeats the numbers in a picture.
    return (
        f'<div class="clause"><span class="aside">{escape(clause.quantity)}</span>{clause.figure}'
        f"<b>{escape(clause.estimate or 'none')}</b><br>{bounds}<br>"
        f'<span class="aside">holds {escape(clause.margin)}</span></div>'
    )


def _verdict_cell(view: ClaimView) -> str:
    lines = [verdict_word(view.status)]
    lines += [f"<b>{escape(view.evidence)} evidence</b>"] if view.evidence else []
    lines += [f'<span class="aside">{escape(view.reason)}</span>'] if view.reason else []
    return "<br>".join(lines)


def verdict_word(status: str) -> str:
    """A verdict as word, glyph and colour."""
    glyph = f"{GLYPHS[status]} " if status in GLYPHS else ""
    return f'<span class="verdict is-{status.replace(" ", "-")}">{glyph}{escape(status)}</span>'


def benchmark_part(path: Path) -> str:
    """The table of the last full benchmark run, with the machine it ran on."""
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    rows, notes = [], list[str]()
    for row in found["rows"]:
        if row["note"] and row["note"] not in notes:
            notes.append(row["note"])
        mark = f" <sup>{notes.index(row['note']) + 1}</sup>" if row["note"] else ""
        unequal = (
            "" if row["equal"] in (True, None) else '<br><span class="verdict is-fails">results differ</span>'
        )
        rows.append(
            (f"{escape(row['what'])}{mark}{unequal}", _side(row["ours"]), _side(row["peer"]), _ratio(row))
        )
    machine = found["machine"]
    ran = (
        f"Medians of CPU time on one thread of {machine['processor']} ({machine['cores']} cores), load "
        f"{found['load_average_before'][0]:.2f} before it began, {found['started'][:10]}. A ratio is peer / ours "
        "unless the note says otherwise: above 1, ours is the quicker one."
    )
    table = html_table(("what", "ours", "peer", "ratio"), rows, kind="benchmark")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"## Beside its peers\n\n{ran} `benchmarks/README.md` says how a ratio comes about; `make bench` runs it "
        f"again.\n\n{table}\n\n<ol class='notes'>{listed}</ol>"
    )


def _side(side: dict[str, str]) -> str:
    return f'{escape(side["text"])}<br><span class="aside">{escape(side["label"])}</span>'


def _ratio(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return ""
    said = f"<b>{format_number(row['ratio'])}×</b>"
    if row["target"] is not None:
        missed = "" if row["met"] in (True, None) else ", <b>missed</b>"
        target = f"target: {escape(row['target']['kind'])} {row['target']['value']:g}×{missed}"
        said += f'<br><span class="aside">{target}</span>'
    return said


def features_part(path: Path) -> str:
    """Every feature with the tests that prove it; one that is not there yet says so."""
    if not path.is_file():
        return ""
    rows = []
    for feature in tomllib.loads(path.read_text(encoding="utf-8"))["features"]:
        tests = feature.get("tests", [])
        items = "".join(f"<li><code>{escape(test.rpartition('/')[2])}</code></li>" for test in tests)
        count = f"{len(tests)} test{'' if len(tests) == 1 else 's'}"
        proof = f"<details><summary>{count}</summary><ul>{items}</ul></details>"
        if not tests:
            proof = f"<b>not there yet</b>: {escape(feature['later'])}"
        rows.append((escape(feature["name"]), proof))
    missing = sum("not there yet" in proof for _, proof in rows)
    said = f"{len(rows) - missing} of {len(rows)} are there, each with the tests that prove it."
    return f"## Features and their tests\n\n{said}\n\n{html_table(('feature', 'proved by'), rows, kind='features')}"


def command_part(room: Room) -> str:
    """The verbs of the room's command with their arguments and options, read from its Typer application."""
    import typer

    blocks = []
    for line, command in _verbs(f"firsthand {room.slug}", typer.main.get_command(room.module("command").app)):
        hints = get_type_hints(command.callback)
        rows = [_parameter(parameter, hints.get(parameter.name)) for parameter in command.params]
        table = html_table(("argument or option", "what it is", "default"), rows, kind="options")
        said = escape(" ".join((command.help or "").split()))
        blocks.append(f"<details><summary><code>{line}</code> {said}</summary>{table}</details>")
    return "## The command\n\n" + "\n\n".join(blocks)


def _verbs(line: str, command: Any) -> Iterator[tuple[str, Any]]:
    """What is typed for each verb, those of groups within groups too, and the verb's command."""
    if not hasattr(command, "commands"):
        yield line, command
        return
    for verb, inner in command.commands.items():
        yield from _verbs(f"{line} {verb}", inner)


def _parameter(parameter: Any, hint: Any) -> tuple[str, str, str]:
    option = parameter.param_type_name == "option"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else parameter.name.upper()
    said = escape(getattr(parameter, "help", "") or "")
    choices = ", ".join(f"<code>{escape(str(choice))}</code>" for choice in _choices(hint))
    said += f" (one of {choices})" if choices else ""
    default = parameter.default
    told = (
        ""
        if callable(default) or default in (None, False, (), [])
        else f"<code>{escape(str(default))}</code>"
    )
    return f"<code>{escape(names)}</code>", said, "required" if parameter.required else told


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values that a parameter's type leaves a choice of: those of a Literal, also inside `| None`."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for inner in get_args(hint) for choice in _choices(inner))


def python_part(room: Room) -> str:
    """A placeholder that mkdocstrings fills, for each public name of the room; no name without `__all__`."""
    names = public_names(room.folder / "__init__.py")
    if not names:
        return ""
    said = ast.get_docstring(ast.parse((room.folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    blocks = "\n\n".join(f"::: {room.package}.{name}" for name in names)
    return f"## In Python\n\n`from {room.package} import …`\n\n{said}\n\n{blocks}"


def systems_page(rooms: Sequence[Room]) -> str:
    """All systems by domain, the ready ones first."""
    ready = sum(room.ready for room in rooms)
    lines = [
        "# Systems",
        f"{len(rooms)} systems, {ready} ready. *Ready* means that check, command and a laptop record are there; "
        "*planned* rooms have their card.",
    ]
    for domain, gives, members in by_domain(rooms):
        rows = [
            (
                f'<a href="{room.slug}.md">{escape(room.card.name)}</a>',
                escape(first_sentence(room.card.summary)),
                _primary(room),
            )
            for room in members
        ]
        lines.append(f"## {domain}\n\n{gives[0].upper()}{gives[1:]}.")
        lines.append(_markdown_table(("system", "what it gives", "status, primary claim"), rows))
    return "\n\n".join(lines) + "\n"


def by_domain(rooms: Sequence[Room]) -> Iterator[tuple[str, str, list[Room]]]:
    """(domain, what for, its rooms with the ready ones first), in the catalogue's order."""
    for domain, gives in DOMAINS:
        members = [room for room in rooms if room.domain == domain]
        if members:
            yield domain, gives, sorted(members, key=lambda room: not room.ready)


def _primary(room: Room) -> str:
    if not room.ready:
        return "planned"
    primary = {claim.id for claim in room.card.claims if claim.primary}
    for row in latest_verdicts(room):
        if row["claim"] in primary:
            stale = ", stale" if row["stale"] else ""
            return f"{verdict_word(row['verdict'])}{stale}<br>{escape('; '.join(row['intervals']))}"
    return "ready"


def _markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, for cells with links between pages, which MkDocs only follows in Markdown."""
    link = re.compile(r'<a href="([^"]+\.md)">([^<]+)</a>')
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [link.sub(r"[\2](\1)", cell).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str) -> str:
    """A table of HTML cells; each carries its column's name, for phones, where rows become blocks."""
    top = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = ""
    for row in rows:
        pairs = zip(heads, row, strict=True)
        body += f"<tr>{''.join(f'<td data-label={quoteattr(name)}>{cell}</td>' for name, cell in pairs)}</tr>"
    return f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _figures(room: Room) -> str:
    figures = room.card.figures
    if not figures:
        return ""
    rows = [
        tuple(escape(text) for text in (f.setting, f.metric, f.control, f.value, f.source)) for f in figures
    ]
    table = html_table(("setting", "metric", "against", "the paper says", "read in"), rows, kind="figures")
    return f"## The paper's figures\n\nNot ours: as far as the card vouches for them.\n\n{table}"


def _stated(room: Room) -> str:
    claims = room.card.claims
    if not claims:
        return ""
    rows = []
    for claim in claims:
        mark = ' <span class="primary">primary</span>' if claim.primary else ""
        status = "not measured yet" if claim.measured else f"not measurable here: {escape(claim.reason)}"
        rows.append((f"<code>{claim.id}</code>{mark}<br>{escape(claim.sentence)}", status))
    return f"## Claims\n\n{html_table(('claim', 'verdict'), rows, kind='claims')}"


def _peers(room: Room) -> str:
    if not room.card.peers:
        return ""
    items = []
    for peer in room.card.peers:
        name = escape(peer.name)
        name = f'<a href="{escape(peer.url)}">{name}</a>' if peer.url else f"<b>{name}</b>"
        items.append(f"<li>{name}{f': {escape(peer.note)}' if peer.note else ''}</li>")
    return f"## What else there is\n\n<ul>{''.join(items)}</ul>"


def _title(name: str) -> str:
    """A name as a Markdown heading takes it."""
    return re.sub(r"([\\`*_#<>\[\]])", r"\\\1", name)
