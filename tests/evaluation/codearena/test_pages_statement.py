"""Statements cannot do anything: no script, no form, nothing from elsewhere, whatever a curator wrote."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.pages.statement import statement_html

from .pages_helpers import Reader

ALLOWED = {
    "p", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "code", "pre", "em", "strong", "s", "a", "img", "hr", "br",
    "blockquote", "table", "thead", "tbody", "tr", "th", "td", "",
}  # fmt: skip
ATTRIBUTES = {"href", "rel", "title", "src", "alt", "dir", "class", "start", "style"}

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "text <b onclick='x()'>bold</b>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](vbscript:x)",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](data:image/png;base64,AAAA)",
    "[a](file:///etc/passwd)",
    "[a](//evil.example/x)",
    "[a](/logout)",
    "<javascript:alert(1)>",
    "![a](javascript:alert(1))",
    "![a](https://evil.example/track.gif)",
    "![a](data:image/svg+xml;base64,PHN2Zz4=)",
    '![a" onerror="alert(1)](data:image/png;base64,AAAA)',
    '[a](https://x.example/" onmouseover="alert(1))',
    "[a]: javascript:alert(1)\n\n[a]",
    '```x" onclick="y\n<script>\n```',
    "<!-- <script> --> <![CDATA[x]]> <?php x ?> <!DOCTYPE x>",
    "<iframe srcdoc='<script>x</script>'></iframe>",
    "<style>*{display:none}</style>",
    "<form action=https://evil.example><input name=token></form>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<svg><script>x</script></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "\x00<script>\x00",
]


def elements(html: str):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.faults == []
    return reader.root


def check_harmless(html: str) -> None:
    for one in elements(html).walk():
        assert one.name in ALLOWED, one
        assert set(one.attributes) <= ATTRIBUTES, one
        assert "style" not in one.attributes, one
        if "href" in one.attributes:
            assert one.name == "a"
            assert re.match(r"(https?://|mailto:|#)", one.attributes["href"], re.IGNORECASE), one
            assert "noopener" in one.attributes["rel"]
        if "src" in one.attributes:
            assert one.name == "img"
            assert re.match(r"data:image/(png|jpeg|gif|webp);base64,", one.attributes["src"]), one


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_statements_do_nothing(text):
    check_harmless(statement_html(text))


@given(st.text(alphabet=st.sampled_from(list("<>&\"'`*_[]()!#|-: \n\tabjsrcx=/\\\x00é\u202e")), max_size=120))
@settings(max_examples=150, deadline=None)
def test_no_text_gives_anything_but_harmless_elements(text):
    check_harmless(statement_html(text))


def test_html_is_shown_as_it_was_written():
    html = statement_html("Print <b>n</b> & <script>x</script>.")
    assert "<b>" not in html
    assert "Print <b>n</b> & <script>x</script>." in unescape(html)


def test_markdown_is_understood():
    html = statement_html(
        "# Sum\n\nPrint `a + b`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- one\n- two\n\n~~no~~"
    )
    root = elements(html)
    assert root.one("h2").text == "Sum"
    assert root.one("code").text == "a + b"
    assert [cell.text for cell in root.all("td")] == ["1", "2"]
    assert len(root.all("li")) == 2
    assert root.one("s").text == "no"


def test_headings_follow_the_pages_title_and_keep_their_order():
    root = elements(statement_html("### Input\n\n#### More\n\n### Output"))
    assert [(one.name, one.text) for one in root.walk() if one.name[:1] == "h"] == [
        ("h2", "Input"), ("h3", "More"), ("h2", "Output"),
    ]  # fmt: skip
    deep = elements(statement_html("# One\n\n###### Six"))
    assert [one.name for one in deep.walk() if one.name[:1] == "h"] == ["h2", "h6"]


def test_pictures_from_elsewhere_become_links_and_those_inside_stay():
    away = elements(statement_html("![a graph](https://x.example/g.png)"))
    assert away.all("img") == []
    assert away.one("a").attributes["href"] == "https://x.example/g.png"
    assert away.one("a").text == "a graph"
    inside = elements(statement_html("![dot](data:image/png;base64,iVBORw0KGgo=)"))
    assert inside.one("img").attributes["alt"] == "dot"


def test_every_block_finds_its_own_direction():
    root = elements(statement_html("سلام دنیا\n\nHello\n\n- שלום"))
    assert [one.attributes["dir"] for one in root.walk() if one.name in ("p", "ul")] == ["auto"] * 3


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "![",
        "*a_",
        "`",
        "<",
        "> ",
        "[a](",
        "- ",
        "|",
        "&#",
        "![[",
        "**a ",
        "\\",
        "(",
        "https://a.b/",
        "~~a",
    ],
)
def test_long_hostile_texts_take_time_in_proportion(unit):
    """Four times the text may take ten times as long, and never the square of that."""

    def cost(size: int) -> float:
        text = (unit * size)[:size]
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            statement_html.__wrapped__(text)
            best = min(best, time.process_time() - start)
        return best

    statement_html.__wrapped__("warm")
    assert cost(12_000) < 12 * cost(3_000) + 0.05
