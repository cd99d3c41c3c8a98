"""What the page says to Dagster, and to nobody else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxy_assets.explorer.runs import Dagster, RunError
from galaxy_assets.settings.printing import PrintableError


@pytest.fixture
def proxied(monkeypatch) -> Iterator[list[str]]:
    """The addresses that a proxy is asked for, which the environment names for everything."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1"])
def test_a_dagster_of_this_machine_is_asked_without_a_proxy(proxied, host):
    with pytest.raises(RunError, match="no Dagster at"):
        Dagster(f"http://{host}:9", "secret")._ask("{ version }", {})
    assert proxied == []


def test_a_dagster_of_another_machine_is_asked_by_the_proxy_of_the_environment(proxied):
    with pytest.raises(RunError, match="refused: 502"):
        Dagster("http://dagster.example:3000", "secret")._ask("{ version }", {})
    assert proxied == ["http://dagster.example:3000/graphql"]


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("http://there:3000/", "http://there:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("localhost:3000/dagster", "http://localhost:3000/dagster"),
        ("there", "http://there"),
        ("https://there", "https://there"),
    ],
)
def test_an_address_may_be_typed_without_its_scheme(typed, address):
    assert Dagster.at(typed).address == address


@pytest.mark.parametrize("typed", ["", "ftp://there", "http://", "there:x", "there:99999", "http://[::1"])
def test_what_is_no_address_is_refused_at_once(typed):
    with pytest.raises(PrintableError, match="no address of Dagster's pages; one is http"):
        Dagster.at(typed)
