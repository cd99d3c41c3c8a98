"""A sky on 127.0.0.1 that answers as hips2fits and the Legacy Surveys viewer do, and as they do on bad days."""

import io
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from galaxy_assets_tests.conftest import draw


class Sky:
    """A server; `bad` says what happens to the positions whose right ascension, in whole degrees, is a key.

    A value is a list that is used up by requests, a name of `answer` each; an empty list is the image.
    """

    def __init__(self):
        self.asked: list[dict[str, str]] = []
        self.agents: set[str] = set()
        self.ports: set[int] = set()
        self.bad: dict[int, list[str]] = {}
        self.forever: dict[int, str] = {}
        self.after = 0
        self.released = threading.Event()
        sky = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps the connection

            def log_message(self, *_):
                pass

            def do_GET(self):
                sky.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def places(self) -> list[tuple[str, str]]:
        return [(one["ra"], one["dec"]) for one in self.asked]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query)) | {"path": path}
        self.asked.append(asked)
        self.agents.add(handler.headers["User-Agent"])
        self.ports.add(handler.client_address[1])
        degree = int(float(asked["ra"]))
        script = self.bad.get(degree, [])
        what = script.pop(0) if script else self.forever.get(degree, "image")
        form = asked.get("format") or path.rpartition(".")[2]
        pixels = int(asked.get("width") or asked["size"])
        headers, status, body = {}, 200, image(form, pixels, degree, float(asked["ra"]), float(asked["dec"]))
        if what.isdecimal():
            status, body = int(what), b'{"title": "Oh", "description": "no \x1b[31m"}'
            if status in (429, 503):
                headers["Retry-After"] = str(self.after)
            if status in (301, 302):
                headers["Location"] = "http://192.0.2.1/elsewhere"
        elif what == "html":
            body, headers = b"<html>Service under maintenance</html>", {"Content-Type": "text/html"}
        elif what == "blank":
            body = image(form, pixels, None, 0, 0)
        elif what == "white":
            body = image("jpg", pixels, 255, 0, 0, constant=True)
        elif what == "empty":
            body = b""
        elif what == "small":
            body = image(form, 20, degree, 0, 0)
        elif what == "half":  # whole as HTTP, and cut off as an image
            body = body[: len(body) // 2]
        elif what == "huge":
            body += bytes(30_000_000)
        elif what == "gzip":
            headers["Content-Encoding"] = "gzip"
        length = len(body)
        if what == "truncated":
            body = body[: len(body) // 2]
        handler.send_response(status)
        for name, value in ({"Content-Type": f"image/{form}"} | headers | {"Content-Length": str(length)}).items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            if what == "slow":
                handler.wfile.write(body[:10])
                handler.wfile.flush()
                self.released.wait(20)
            else:
                handler.wfile.write(body)
        except OSError:
            pass  # the client is gone
        if what == "truncated":
            handler.close_connection = True


def image(form: str, pixels: int, seed: int | None, ra: float, dec: float, constant: bool = False) -> bytes:
    """An image as the services send it; without a seed, of what is outside the footprint."""
    stream = io.BytesIO()
    if form == "fits":
        from astropy.io import fits

        plane = np.full((pixels, pixels), np.nan, np.float32)
        if seed is not None:
            plane = draw("round", np.random.default_rng(seed), pixels)[..., 0].astype(np.float32)
            plane[:3] = np.nan  # the edge of the footprint
        hdu = fits.PrimaryHDU(plane)
        centre = {"CRVAL1": ra, "CRVAL2": dec, "CRPIX1": (pixels + 1) / 2, "CRPIX2": (pixels + 1) / 2}
        hdu.header.update(centre | {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4})
        hdu.writeto(stream)
        return stream.getvalue()
    kind = "pair" if seed is not None and seed % 10 == 0 else ("round", "long")[(seed or 0) % 2]
    drawn = draw(kind, np.random.default_rng(seed), pixels)
    if constant:
        drawn[:] = seed
    if form == "png":  # hips2fits sends transparency
        alpha = np.full((pixels, pixels, 1), 0 if seed is None else 255, np.uint8)
        Image.fromarray(np.concatenate([drawn, alpha], axis=2)).save(stream, "PNG")
    else:
        if seed is None:
            drawn[:] = 32  # the colour of no flux
        Image.fromarray(drawn).save(stream, "JPEG", quality=90)
    return stream.getvalue()
