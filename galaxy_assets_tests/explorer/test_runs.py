"""What the page says to Dagster, and to nobody else."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxy_assets.explorer.runs import Dagster, Run, RunError, until_over
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.small_lake import NAME


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


@pytest.fixture
def odd() -> Iterator[Dagster]:
    """A server that answers everything, and is no Dagster."""

    class Odd(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Dagster(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


def test_a_run_is_over_whatever_went_wrong_and_the_next_one_is_not_refused(tmp_path, odd):
    shared = Shared(Layout(tmp_path), odd.address)
    for _ in range(2):
        run = asyncio.run(shared.start_run(NAME, ["anomaly_ranking"]))
        assert run.over and run.error and shared.runs[NAME] is run
    followed = Run(NAME, ["anomaly_ranking"], "r")
    asyncio.run(until_over(followed, odd))
    assert followed.over and followed.error.endswith("The run may go on; its page shows it.")


def test_a_run_that_is_not_over_stays_the_surveys_run(tmp_path, odd):
    shared = Shared(Layout(tmp_path), odd.address)
    going = shared.runs[NAME] = Run(NAME, ["anomaly_model", "anomaly_ranking"], "r")
    with pytest.raises(RunError, match=f"a run of {NAME} \\(anomaly_model, anomaly_ranking\\) is not over yet"):
        asyncio.run(shared.start_run(NAME, ["cluster_summary"]))
    assert shared.runs[NAME] is going and not going.over
    assert asyncio.run(shared.start_run("other", ["cluster_summary"])).over


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
