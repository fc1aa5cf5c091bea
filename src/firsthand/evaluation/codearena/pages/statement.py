"""Statements: Markdown from curators, as HTML that can do nothing.

HTML in a statement is text. Links lead to the web or to a mail program, pictures from elsewhere become links, and every
block of text finds its own direction of writing. Knows Markdown. Knows nothing of problems.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from firsthand.errors import MissingDependencyError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["statement_html"]

_LINK = re.compile(r"https?://|mailto:|#", re.IGNORECASE)
# A picture that is inside the statement. SVG is left out: it can hold scripts.
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+\Z")
# Lists and not their items: the marks stand on the side where a list begins.
_DIRECTED = frozenset(
    f"{name}_open"
    for name in ("paragraph", "heading", "bullet_list", "ordered_list", "blockquote", "td", "th")
)
_TOP = 2  # the page's title is the one heading above


@lru_cache(maxsize=256)
def statement_html(text: str) -> str:
    """A statement as HTML without scripts, styles, forms or anything that loads from elsewhere.

    Its highest headings become `<h2>`, because the page's title stands above them.

    Raises:
        MissingDependencyError: markdown-it-py is not installed.
    """
    parser = _parser()
    tokens = parser.parse(text)
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    shift = _TOP - min(levels, default=_TOP)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + shift)}"
        if token.type in _DIRECTED:
            token.attrSet("dir", "auto")
    return str(parser.renderer.render(tokens, parser.options, {}))


@cache
def _parser() -> MarkdownIt:
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise MissingDependencyError(
            "statements need markdown-it-py: pip install 'firsthand[evaluation]'"
        ) from error
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    # Pictures pass here too; `_image` decides what becomes of them.
    parser.validateLink = lambda url: bool(_LINK.match(url) or _PICTURE.match(url))  # type: ignore[method-assign]
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    return parser


def _link(renderer: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    token = tokens[place]
    target = str(token.attrGet("href") or "")
    if not _LINK.match(target):  # a picture's address as a link: a page of somebody else's making
        token.attrs.pop("href", None)
    token.attrSet("rel", "nofollow noopener noreferrer")
    return str(renderer.renderToken(tokens, place, options, env))


def _image(renderer: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    token = tokens[place]
    source = str(token.attrGet("src") or "")
    words = str(renderer.renderInlineAsText(token.children or [], options, env))
    if _PICTURE.match(source):
        return f'<img src="{escape(source)}" alt="{escape(words)}">'
    return f'<a href="{escape(source)}" rel="nofollow noopener noreferrer">{escape(words or source)}</a> (a picture)'
