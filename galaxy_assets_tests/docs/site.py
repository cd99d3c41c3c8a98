"""The site built for the tests, once per process; and what its pages link to.

Belongs here: building and reading it. Does not belong here: what is asserted.
"""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from galaxy_assets_tests.docs.pages import DOCS


def build(folder: Path) -> Path:
    """Build the site as `make docs` does; returns the folder of its pages."""
    html = folder / "html"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(folder / "read")]
    made = subprocess.run([*command, str(DOCS), str(html)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return html


class Links(HTMLParser):
    """What a page links to and loads, and the places in it that a link can name."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical",) and given.get("href"):
            self.loads.append(given["href"])
        elif given.get("src"):
            self.loads.append(given["src"])


def broken(html: Path) -> list[str]:
    """Links and loads of the site's pages that lead to nothing, or to another machine where a page loads it."""
    pages = {page: Links(page) for page in html.rglob("*.html") if "_static" not in page.parts}
    found = []
    for page, read in pages.items():
        for link in [*read.links, *read.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                wrong = link in read.loads and parts.scheme != "data"
            else:
                to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                to = to / "index.html" if to.is_dir() else to
                there = pages[to].places if to in pages else set()
                wrong = not to.exists() or bool(parts.fragment and to in pages and unquote(parts.fragment) not in there)
            found += [f"{page.relative_to(html)}: {link}"] if wrong else []
    return sorted(set(found))
