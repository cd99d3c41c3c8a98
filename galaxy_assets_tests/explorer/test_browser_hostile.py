"""The explorer in a browser, when others mean it no good or use it at the same time: links, bombs, two people."""

import gzip
import io
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

import numpy as np
import psutil
import pytest

from galaxy_assets.explorer.gallery_panel import MAXIMUM_UPLOAD
from galaxy_assets_tests.explorer.browser import PATIENCE
from galaxy_assets_tests.explorer.conftest import Explored
from galaxy_assets_tests.explorer.test_browser import (
    apply_filter,
    events,
    open_page,
    settled,
    total,
    until_total,
    view_of,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def other_site() -> Iterator[tuple[str, dict[str, tuple[int, dict[str, str], str]]]]:
    """Address of another site, and its pages: status, headers and HTML by path."""
    pages: dict[str, tuple[int, dict[str, str], str]] = {}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, html = pages.get(urlsplit(self.path).path, (404, {}, ""))
            self.send_response(status)
            for name, value in ({"content-type": "text/html"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # to a browser localhost and 127.0.0.1 are two sites
    yield f"http://localhost:{server.server_port}", pages
    server.shutdown()


def html(link: str, how: str) -> tuple[int, dict[str, str], str]:
    """A page that leads a person to a link."""
    attribute = link.replace("&", "&amp;")
    match how:
        case "link":
            return 200, {}, f'<a id="go" href="{attribute}">look</a>'
        case "opener":
            return 200, {}, f'<a id="go" target="_self" rel="opener" href="{attribute}">look</a>'
        case "script":
            return 200, {}, f"<button id=go onclick=\"location.href='{link}'\">look</button>"
        case "form":
            fields = [pair.split("=", 1) for pair in urlsplit(link).query.split("&")]
            inputs = "".join(f'<input type="hidden" name="{k}" value="rank &lt; 5">' if k == "where" else
                             f'<input type="hidden" name="{k}" value="{v}">' for k, v in fields)  # fmt: skip
            return 200, {}, f'<form action="{link.split("?")[0]}">{inputs}<button id="go">look</button></form>'
        case "refresh":
            return 200, {}, f'<meta http-equiv="refresh" content="0;url={attribute}">'
        case _:
            return 302, {"location": link}, ""


@pytest.mark.parametrize("how", ["link", "opener", "script", "form", "refresh", "redirect", "typed"])
def test_a_filter_that_came_with_an_address_runs_after_a_click_alone(explored, browser, other_site, how):
    site, pages = other_site
    condition = "rank < 5" if how == "form" else f"rank < 5 and '{how}' = '{how}'"
    link = f"{explored.url()}&where={quote(condition)}"
    pages["/"] = html(link, how)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(link if how == "typed" else f"{site}/")
    if how in ("link", "opener", "script", "form"):
        page.click("#go")
    page.wait_for_selector(".ga-map[data-drawn]")
    settled(page)
    everything = len(view_of(explored))
    page.wait_for_selector(".ga-problem:has-text('came with the address and is not applied')")
    assert total(page) == everything and page.get_by_label("Filter, in SQL").input_value() == condition
    page.get_by_label("Sorted by").click()
    page.get_by_role("option").nth(1).click()
    page.wait_for_timeout(500)
    assert total(page) == everything, "another click does not apply it"
    page.get_by_role("button", name="Apply").click()
    until_total(page, 4)
    page.reload()
    page.wait_for_selector(".ga-map[data-drawn]")
    until_total(page, 4)
    page.close()


def test_no_other_site_shows_the_page_in_a_frame(explored, browser, other_site):
    site, pages = other_site
    pages["/"] = 200, {}, f'<iframe src="{explored.url().replace("&", "&amp;")}"></iframe>'
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{site}/")
    page.wait_for_timeout(1500)
    assert any("frame-ancestors" in words for words in refused)
    page.close()


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[int]]:
    """Bytes that a process and its children held at most inside the block, more than before it."""

    def held() -> int:
        bytes_ = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                bytes_ += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return bytes_

    before, most, over = held(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], held() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def png(side: int) -> bytes:
    """An image of one colour, side by side pixels, deflated row by row: making it needs no memory."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, rows = zlib.compressobj(9), io.BytesIO()
    for _ in range(side):
        rows.write(packer.compress(bytes(side + 1)))
    rows.write(packer.flush())
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows.getvalue()) + chunk(b"IEND", b"")


def fits_gz(side: int) -> bytes:
    """A FITS image of zeros, gzipped."""
    cards = ["SIMPLE  = T", "BITPIX  = -32", "NAXIS   = 2", f"NAXIS1  = {side}", f"NAXIS2  = {side}", "END"]
    cards = [f"{name:<8}={value:>21}" for name, value in (card.split("=") for card in cards[:-1])] + ["END"]
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as stream:
        stream.write("".join(f"{card:<80}" for card in cards).ljust(2880).encode())
        for _ in range(side * side * 4 // 1_000_000 + 1):
            stream.write(bytes(1_000_000))
    return packed.getvalue()


def npy(side: int) -> bytes:
    """A NumPy file whose header promises more than there is."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (side, side)})
    return content.getvalue() + bytes(1000)


BOMBS = {
    "bomb.png": (png, 20_000),
    "bomb.fits.gz": (fits_gz, 25_000),
    "bomb.fits": (fits_gz, 25_000),
    "bomb.npy": (npy, 60_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once_and_takes_little_memory(page, explored, tmp_path, name):
    make, side = BOMBS[name]
    content = make(side)
    assert len(content) < MAXIMUM_UPLOAD
    (tmp_path / name).write_bytes(content)
    open_page(page, explored)
    page.get_by_role("button", name="More like an image").click()
    server = psutil.Process(explored.server.process.pid)
    with watched(server) as most:
        begun = time.monotonic()
        page.locator("input[type=file]").set_input_files(tmp_path / name)
        page.wait_for_selector(f".ga-dialog .ga-note:has-text('{name}:')")
        print(f"{name}: {time.monotonic() - begun:.2f} s, {most[0] / 1e6:.0f} MB, {len(content) / 1e6:.1f} MB sent")
    assert most[0] < 200_000_000
    page.get_by_role("button", name="Close").click()


AT_ONCE = """(n) => {
  const shown = () => document.querySelector('[data-shown]').dataset.shown;
  window.said = [];
  const next = () => {
    if (window.said.length === n) { window.done = true; return; }
    const galaxy = shown(), key = String(window.said.length % 6);
    window.said.push([galaxy, Number(key)]);
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    const wait = () => setTimeout(() => (shown() !== galaxy ? next() : wait()), 10);
    wait();
  };
  next();
}"""


def test_two_browsers_score_at_once_and_nothing_is_lost(explored: Explored, browser):
    before, n, people = len(events(explored)), 12, ("eve", "finn")
    pages = []
    for who, order in zip(people, ("rank", "random"), strict=True):
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        open_page(page, explored, panel="score", order=order)
        page.get_by_label("Scoring as").fill(who)
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('.ga-scoring .ga-count').textContent.includes('0 of')")
        page.get_by_role("button", name="Skip").focus()
        pages.append(page)
    for page in pages:
        page.evaluate(AT_ONCE, n)
    for page in pages:
        page.wait_for_function("window.done")
    said = {
        who: [tuple(pair) for pair in page.evaluate("window.said")] for who, page in zip(people, pages, strict=True)
    }
    new = events(explored)[before:]
    for who in people:
        assert [(e["galaxy_id"], e["score"]) for e in new if e["who"] == who] == said[who]
    assert len(new) == 2 * n and len({e["event"] for e in new}) == 2 * n
    assert new[0]["who"] != new[-1]["who"] or len({e["who"] for e in new[:n]}) == 2, "they did it at once"
    scored = {galaxy for who in people for galaxy, _ in said[who]}
    for page in pages:
        page.reload()
        page.wait_for_selector(".ga-map[data-drawn]")
        page.get_by_role("tab", name="Gallery").click()
        apply_filter(page, "people >= 1")
        page.wait_for_function("document.querySelector('.ga-count').textContent.includes('matching')")
        view = view_of(explored)
        names = ", ".join("'" + galaxy.replace("'", "''") + "'" for galaxy in sorted(scored))
        assert total(page) >= len(scored)
        apply_filter(page, f"people >= 1 and galaxy_id in ({names})")
        until_total(page, len(scored))
        assert len(view.rows_of(sorted(scored))) == len(scored)
        page.context.close()
