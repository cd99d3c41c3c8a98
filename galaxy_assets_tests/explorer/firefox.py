"""A Firefox of this machine, driven over WebDriver BiDi: Playwright drives only a Firefox of its own build.

Belongs here: starting it, and the few commands that tests need. Does not belong here: what is tested.
"""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from galaxy_assets_tests.explorer.browser import PATIENCE, free_port

# no start page, no question, nothing fetched from elsewhere, and a clipboard that tests may read
_PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "services.settings.server": "data:,",
    "dom.events.testing.asyncClipboard": True,
    "dom.w3c_touch_events.enabled": 1,
    "webgl.force-enabled": True,
}
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Control": "\ue009", "ArrowRight": "\ue014"}


def firefox() -> str | None:
    """A Firefox of this machine: $FIREFOX, else one on the path."""
    names = ("firefox", "firefox-esr")
    return os.environ.get("FIREFOX") or next((found for name in names if (found := shutil.which(name))), None)


class Tab:
    """One tab."""

    def __init__(self, socket: ClientConnection):
        self._socket, self._ids = socket, itertools.count(1)
        self.problems: list[str] = []
        """Errors that the page logged, and requests to other hosts."""
        self._command("session.new", {"capabilities": {}})
        self.context = self._command("browsingContext.getTree", {})["contexts"][0]["context"]
        self._command("session.subscribe", {"events": ["log.entryAdded", "network.beforeRequestSent"]})

    def _command(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=PATIENCE / 1000))
            if said.get("id") == number:
                assert said["type"] == "success", said
                return said["result"]
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        params = said.get("params", {})
        if said.get("method") == "log.entryAdded" and params["level"] == "error":
            self.problems.append(str(params["text"]))
        elif said.get("method") == "network.beforeRequestSent" and params.get("context") == self.context:
            url = params["request"]["url"]
            if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")):
                self.problems.append(f"asked {url}")

    def go(self, url: str) -> None:
        self._command("browsingContext.navigate", {"context": self.context, "url": url, "wait": "complete"})

    def size(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self._command("browsingContext.setViewport", {"context": self.context, "viewport": viewport})

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, through JSON."""
        whole = f"(async () => JSON.stringify(await ({expression}) ?? null))()"
        target = {"target": {"context": self.context}, "awaitPromise": True, "userActivation": True}
        answer = self._command("script.evaluate", {"expression": whole, **target})
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def until(self, expression: str) -> Any:
        """Wait until an expression is true; returns its value."""
        end = time.monotonic() + PATIENCE / 1000
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.1)
        return found

    def press(self, *keys: str) -> None:
        """Press keys together."""
        values = [KEYS.get(key, key) for key in keys]
        down = [{"type": "keyDown", "value": value} for value in values]
        actions = [*down, *({"type": "keyUp", "value": value} for value in values[::-1])]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def click(self, at: tuple[float, float], *, kind: str = "mouse", button: int = 0) -> None:
        self.along([at], kind=kind, button=button)

    def click_on(self, selector: str) -> None:
        """Click the middle of an element."""
        words = json.dumps(selector)
        box = f"(() => {{ const b = document.querySelector({words}).getBoundingClientRect(); "
        self.click(tuple(self.evaluate(box + "return [b.x + b.width / 2, b.y + b.height / 2]; })()")))

    def along(self, path: list[tuple[float, float]], *, kind: str = "mouse", button: int = 0, held: int = 0) -> None:
        """Go to the first place, press, go on, and let go."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20} for x, y in path]
        down = [{"type": "pointerDown", "button": button}, {"type": "pause", "duration": held}]
        actions = [moves[0], *down, *moves[1:], {"type": "pointerUp", "button": button}]
        self._act({"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": actions})

    def hover(self, at: tuple[float, float]) -> None:
        actions = [{"type": "pointerMove", "x": round(at[0]), "y": round(at[1]), "duration": 20}]
        self._act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions})

    def _act(self, source: dict[str, Any]) -> None:
        self._command("input.performActions", {"context": self.context, "actions": [source]})

    def screenshot(self, file: Path) -> None:
        import base64

        shot = self._command("browsingContext.captureScreenshot", {"context": self.context})
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def opened() -> Iterator[Tab]:
    """A tab of a Firefox that ends with the block."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="firefox_") as profile:
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in _PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        command = [firefox() or "", "--headless", "--no-remote", "--profile", profile]
        command += ["--remote-debugging-port", str(port), "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with _connected(port, process) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _connected(port: int, process: subprocess.Popen) -> ClientConnection:
    end = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            return connect(f"ws://127.0.0.1:{port}/session", max_size=None)
        except (OSError, WebSocketException):
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)
