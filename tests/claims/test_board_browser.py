"""The board in a real browser: both themes, both widths, no network, no complaint, usable by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.claims.board_fixtures import full_board

pytestmark = pytest.mark.browser

PAGES = ("index", "preselect", "clea", "hostile")
TWO_KINDS = PAGES[:2]
VIEWS = [("light", 390), ("light", 820), ("light", 1440), ("dark", 390), ("dark", 1440)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_board(tmp_path_factory.mktemp("site") / "board").parent


class _Watch:
    """A page that notes everything it should not do."""

    def __init__(self, browser: Any, theme: str = "light", width: int = 1440) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(f"request: {request.url}")


@pytest.fixture
def watch(browser: Any) -> Iterator[Any]:
    opened: list[_Watch] = []

    def open_page(url: str, theme: str = "light", width: int = 1440) -> _Watch:
        seen = _Watch(browser, theme, width)
        opened.append(seen)
        seen.page.goto(url)
        return seen

    yield open_page
    for seen in opened:
        complaints = seen.complaints
        seen.context.close()
        assert complaints == []


@pytest.mark.parametrize(("theme", "width"), VIEWS)
def test_every_page_fits_and_keeps_to_itself(
    watch: Any, site: Path, tmp_path: Path, theme: str, width: int
) -> None:
    for name in PAGES if (theme, width) == ("light", 390) else TWO_KINDS:
        page = watch((site / f"{name}.html").as_uri(), theme, width).page
        scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert scroll <= inner, name
        assert page.evaluate("window.hacked") is None
        shot = tmp_path / f"{name}-{width}-{theme}.png"
        page.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 10_000
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 128
        assert dark == (theme == "dark")


@pytest.mark.parametrize("width", [390, 1440])
def test_no_text_of_a_drawing_overlaps_another(watch: Any, site: Path, width: int) -> None:
    for name in PAGES:
        page = watch((site / f"{name}.html").as_uri(), "light", width).page
        overlaps = page.evaluate(
            """() => [...document.querySelectorAll('svg.forest, svg.chart')].flatMap(svg => {
              const texts = [...svg.querySelectorAll('text')];
              const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
              const frame = svg.getBoundingClientRect();
              const meets = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
                && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
              return boxes.flatMap(([t, a], i) =>
                boxes.slice(i + 1).filter(([, b]) => meets(a, b)).map(([u]) => t + ' / ' + u)
                  .concat(a.left < frame.left - 1 || a.right > frame.right + 1 ? ['outside: ' + t] : []));
            })"""
        )
        assert overlaps == [], name


def test_rows_are_cards_on_a_phone_and_a_table_on_a_desk(watch: Any, site: Path) -> None:
    url = (site / "index.html").as_uri()
    display = "getComputedStyle(document.querySelector('.board tbody tr')).display"
    assert watch(url, width=1440).page.evaluate(display) == "table-row"
    assert watch(url, width=390).page.evaluate(display) == "grid"
    drawn = watch(url, width=390).page.evaluate(
        "document.querySelector('.forest text').getBoundingClientRect().height"
    )
    assert drawn >= 10, "labels stay legible"


@pytest.mark.parametrize("width", [390, 820, 1024, 1280, 1366, 1440, 1920])
def test_a_claim_has_room_on_every_screen(watch: Any, site: Path, width: int) -> None:
    """The other columns of the table have fixed widths; what is left over is the claim's."""
    page = watch((site / "index.html").as_uri(), width=width).page
    room = page.evaluate("document.querySelector('.board tbody .c-claim').getBoundingClientRect().width")
    assert room >= 200


def _column(page: Any, key: str) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll('.board tbody tr')].map(r => r.dataset.{key})")  # type: ignore[no-any-return]


def test_sorting_by_click_and_by_keyboard(watch: Any, site: Path) -> None:
    page = watch((site / "index.html").as_uri()).page
    written = _column(page, "verdict")
    button = page.get_by_role("button", name="Verdict")
    header = page.locator("th.c-verdict").first
    assert header.get_attribute("aria-sort") == "none"
    button.click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert _column(page, "verdict") == sorted(written, key=int) != written
    button.focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert _column(page, "verdict") == sorted(written, key=int, reverse=True)
    page.keyboard.press("Tab")  # on to the next sortable column
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "none"
    assert page.locator("th.c-scale").first.get_attribute("aria-sort") == "ascending"
    assert _column(page, "scale") == sorted(_column(page, "scale"), key=int)
    page.get_by_role("button", name="Cost").click()
    costs = [float(cost) for cost in _column(page, "cost")]
    assert costs == sorted(costs)
    page.get_by_role("button", name="System").click()
    assert _column(page, "system") == page.evaluate(
        "[...document.querySelectorAll('.board tbody tr')]"
        ".map(r => r.dataset.system).sort((a, b) => a.localeCompare(b))"
    )
    assert page.get_by_role("status").inner_text() == "Sorted by system, ascending"


def test_the_domain_filter(watch: Any, site: Path) -> None:
    page = watch((site / "index.html").as_uri(), width=390).page
    page.get_by_label("Domain").select_option("decoding")
    shown = page.locator(".board tbody tr:visible")
    assert shown.count() == 4
    assert page.get_by_role("status").inner_text() == "4 rows"
    page.get_by_label("Domain").select_option("")
    assert shown.count() == 19


def test_the_theme_is_remembered_from_page_to_page(watch: Any, site: Path) -> None:
    page = watch((site / "index.html").as_uri(), "light").page
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    toggle = page.get_by_role("button", name="Theme")
    toggle.click()
    assert (toggle.inner_text(), page.evaluate(paper)) == ("Theme: light", light)
    toggle.press("Enter")
    assert toggle.inner_text() == "Theme: dark"
    dark = page.evaluate(paper)
    assert dark != light
    page.locator(".board tbody .c-system a").first.click()
    page.wait_for_url("**/preselect.html")
    assert page.get_by_role("button", name="Theme").inner_text() == "Theme: dark"
    assert page.evaluate(paper) == dark
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate(paper) == light


def test_without_script_everything_is_there_and_no_dead_button(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator(".board tbody tr").count() == 19
    assert not page.locator(".theme").is_visible()
    assert not page.locator("[data-tools]").is_visible()
    context.close()


def test_print_is_light_and_without_controls(watch: Any, site: Path) -> None:
    page = watch((site / "index.html").as_uri(), "dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".theme").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_serious(watch: Any, site: Path, theme: str, width: int) -> None:
    # Without "preload" axe fetches the style sheet again by script, which a page from a file may not do.
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    for name in TWO_KINDS:
        page = watch((site / f"{name}.html").as_uri(), theme, width).page
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        found = (
            axe_module.Axe()
            .run(page, options={"preload": False, "resultTypes": ["violations"]})
            .response["violations"]
        )
        grave = [
            (v["id"], v["nodes"][0]["html"][:200], v["nodes"][0].get("failureSummary", "")[:300])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert grave == [], name
