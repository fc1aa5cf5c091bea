"""Renews what the README shows of other files: the example, the table of systems, the board's picture.

    python docs/readme.py [--check]

With --check nothing is written: it fails where text differs. The picture needs Debian's chromium and the
board that `make check` writes; without either it is left as it is, and that is said.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def between(text: str, name: str, body: str) -> str:
    pattern = re.compile(rf"(<!-- {name}:start[^\n]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    renewed, count = pattern.subn(lambda match: f"{match[1]}{body.rstrip()}\n{match[2]}", text)
    if count != 1:
        raise SystemExit(f"README.md has {count} places for {name!r}, there must be one")
    return renewed


def renewed() -> str:
    from firsthand.catalogue.render import systems_table_markdown
    from firsthand.catalogue.rooms import all_rooms

    text = README.read_text(encoding="utf-8")
    example = (CHECKOUT / "examples" / "preselect_quickstart.py").read_text(encoding="utf-8")
    body = example.partition('"""\n\n')[2] if example.startswith('"""') else example
    text = between(text, "example", f"```python\n{body.rstrip()}\n```")
    own = [room for room in all_rooms() if room.origin == "firsthand"]
    return between(text, "systems", systems_table_markdown(own))


def picture() -> str:
    board = CHECKOUT / "board" / "index.html"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not board.exists() or browser is None:
        return "docs/board.png is left as it is: it needs the board (make check) and chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        page = chromium.new_page(viewport={"width": 1440, "height": 1320}, color_scheme="light")
        page.goto(board.as_uri())
        page.screenshot(path=str(CHECKOUT / "docs" / "board.png"))
        chromium.close()
    return "docs/board.png renewed"


def main(arguments: list[str]) -> int:
    text = renewed()
    if "--check" in arguments:
        if text != README.read_text(encoding="utf-8"):
            print("README.md is not what `make readme` writes")
            return 1
        return 0
    README.write_text(text, encoding="utf-8")
    print(picture())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
