"""`galaxy-assets dev`: Dagster's pages work, and no other page can change or read anything through them."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from galaxy_assets.explorer import runs
from galaxy_assets.explorer.runs import Dagster, RunError
from galaxy_assets.orchestration.resources import LAKE, Lake
from galaxy_assets_tests.explorer.browser import PATIENCE, dagster_serving

CHANGE = 'mutation { setConcurrencyLimit(concurrencyKey: "evil", limit: 1) }'
STATE = "{ instance { concurrencyLimits { concurrencyKey } } }"
JSON = {"content-type": "application/json"}


def asked(address: str, query: str) -> dict:
    body = json.dumps({"query": query})
    return httpx.post(f"{address}/graphql", content=body, headers=JSON | {"origin": address}).raise_for_status().json()


def limits(address: str) -> list[str]:
    return [row["concurrencyKey"] for row in asked(address, STATE)["data"]["instance"]["concurrencyLimits"]]


@pytest.fixture(autouse=True)
def nothing_changes(dagster) -> Iterator[None]:
    before = limits(dagster.address)
    yield
    assert limits(dagster.address) == before and "evil" not in before


def test_its_own_pages_ask_and_change(dagster):
    page = httpx.get(dagster.address, headers={"accept": "text/html"})
    assert page.status_code == 200 and "/_next/" in page.text
    assert page.headers.get_list("content-security-policy")[-1] == "frame-ancestors 'self'; form-action 'self'"
    assert "GraphiQL" in httpx.get(f"{dagster.address}/graphql", headers={"accept": "text/html"}).text
    assert asked(dagster.address, CHANGE) == {"data": {"setConcurrencyLimit": True}}
    assert "evil" in limits(dagster.address), "the change that other pages try is one that can be seen"
    asked(dagster.address, 'mutation { deleteConcurrencyLimit(concurrencyKey: "evil") }')


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql", "/./graphql", "/%67raphql"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_no_address_runs_anything(dagster, method, path, accept):
    url = httpx.URL(f"{dagster.address}{path}", params={"query": CHANGE})
    assert httpx.request(method, url, headers={"accept": accept}, follow_redirects=True).status_code in (200, 404, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        JSON,
        JSON | {"origin": "http://evil.example"},
        JSON | {"origin": "null"},
        JSON | {"origin": "http://localhost:1"},
        {"origin": "SELF", "content-type": "text/plain"},
        {"origin": "SELF", "content-type": "text/plain; application/json"},
        {"origin": "SELF", "content-type": "application/x-www-form-urlencoded"},
        {"origin": "SELF", "content-type": "multipart/form-data; boundary=x"},
        {"origin": "SELF", "content-type": "application/graphql"},
        {"origin": "SELF"},
        JSON | {"origin": "SELF", "host": "evil.example"},
        JSON | {"origin": "http://evil.example", "host": "evil.example"},
        JSON | {"origin": "SELF", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    ],
)
@pytest.mark.parametrize("address", ["", "?query=" + CHANGE])
def test_no_other_page_posts(dagster, headers, address):
    headers = {k: dagster.address if v == "SELF" else v for k, v in headers.items()}
    content = CHANGE if "graphql" in headers.get("content-type", "") else json.dumps({"query": CHANGE})
    answer = httpx.post(f"{dagster.address}/graphql{address}", content=content, headers=headers)
    assert answer.status_code in (403, 405, 415), answer.text


@pytest.mark.parametrize(
    "path", ["/report_asset_materialization/x", "/report_asset_check/x", "/report_asset_observation/x"]
)
def test_reports_of_assets_are_guarded_too(dagster, path):
    assert httpx.post(f"{dagster.address}{path}?check_name=c&passed=true").status_code == 403
    own = {"origin": dagster.address}
    assert httpx.post(f"{dagster.address}{path}?check_name=c&passed=true", headers=own).status_code == 415


def socket(address: str, origin: str | None):
    return connect(address.replace("http", "ws") + "/graphql", origin=origin, subprotocols=["graphql-ws"])  # type: ignore


@pytest.mark.parametrize(
    "origin", [None, "http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_other_pages_open_no_socket(dagster, origin):
    with pytest.raises(InvalidStatus) as refused:
        socket(dagster.address, origin)
    assert refused.value.response.status_code == 403
    with socket(dagster.address, dagster.address) as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv()) == {"type": "connection_ack"}


def test_the_explorer_is_let_in(dagster):
    with pytest.raises(RunError, match="knows no anomaly_ranking of nobody"):
        Dagster.at(dagster.address + "/").launch("nobody", ["anomaly_ranking"], Path())
    given = Dagster.at("http://there:3000/?token=abc")
    assert given.address == "http://there:3000" and given.token == "abc" and "abc" not in given.run_page("r")


def test_a_run_is_started_in_the_data_folder_that_is_shown_and_in_no_other(dagster, tmp_path):
    ranking, here = ("demo_optical", ["anomaly_ranking"]), tmp_path / "linked"
    with pytest.raises(RunError, match=f"works in {dagster.root}, not in {tmp_path}; start `galaxy-assets dev`"):
        Dagster.at(dagster.address).launch(*ranking, tmp_path)
    here.mkdir()
    if mounted := not subprocess.run(["mount", "--bind", str(dagster.root), str(here)], capture_output=True).returncode:
        assert here.resolve() != dagster.root.resolve()
    else:
        here.rmdir()
        here.symlink_to(dagster.root)
    try:
        run = Dagster.at(dagster.address).launch(*ranking, here)
    finally:
        if mounted:
            subprocess.run(["umount", str(here)], check=True)
    tagged = f'{{ runOrError(runId: "{run}") {{ ... on Run {{ tags {{ key value }} }} }} }}'
    tags = asked(dagster.address, tagged)["data"]["runOrError"]["tags"]
    assert {"key": "galaxy_assets/started_by", "value": "explorer"} in tags


def test_the_explorer_looks_for_the_data_folder_where_it_stands():
    assert runs._LAKE == LAKE and "names" in Lake.model_fields


@pytest.mark.parametrize("how", ["terminate", "interrupt", "daemon"])
def test_it_ends_with_all_its_processes(tmp_path_factory, how):
    root, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    with dagster_serving(root, home) as (_, process):
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("dagster._daemon" in child.cmdline() for child in children) and len(children) >= 2
        if how == "daemon":
            next(child for child in children if "dagster._daemon" in child.cmdline()).kill()
        else:
            process.send_signal(signal.SIGTERM if how == "terminate" else signal.SIGINT)
        assert process.wait(90) == (1 if how == "daemon" else 0)
        assert [child.cmdline() for child in children if child.is_running()] == []


FOREIGN = """<!doctype html><title>a page of somebody else</title><body>
<img src="DAGSTER/graphql?query=CHANGE">
<script src="DAGSTER/graphql?query=CHANGE"></script>
<link rel="stylesheet" href="DAGSTER/graphql?query=CHANGE">
<iframe name="there" src="DAGSTER/overview"></iframe>
<form id="plain" method="post" enctype="text/plain" action="DAGSTER/graphql" target="there">
<input name='{"query": "PLAIN", "x": "' value='"}'></form>
<form id="form" method="post" action="DAGSTER/graphql?query=CHANGE" target="there">
<input name="query" value='RAW'></form>
<form id="get" method="get" action="DAGSTER/graphql" target="there"><input name="query" value='RAW'></form>
<script>
const body = JSON.stringify({query: RAWJS}), url = 'DAGSTER/graphql', done = [];
const tried = (name, promise) => promise.then((v) => done.push([name, v]), (e) => done.push([name, 'refused']));
const opened = () => new Promise((yes, no) => {
  const s = new WebSocket('DAGSTER'.replace('http', 'ws') + '/graphql', 'graphql-ws');
  s.onopen = () => yes('open'); s.onerror = no; });
const framed = () => new Promise((yes) => setTimeout(() => yes(window.frames[0].length), 500));
(async () => {
  await tried('socket', opened());
  await tried('no-cors', fetch(url, {method: 'POST', mode: 'no-cors', body}).then((r) => r.type));
  const headers = {'content-type': 'application/json'};
  await tried('cors', fetch(url, {method: 'POST', body, headers}).then((r) => r.text()));
  await tried('read', fetch(url + '?query=' + encodeURIComponent(RAWJS)).then((r) => r.text()));
  navigator.sendBeacon(url, body);
  navigator.sendBeacon(url, new Blob([body], {type: 'text/plain'}));
  for (const id of ['plain', 'form', 'get']) {
    document.getElementById(id).submit();
    await new Promise((next) => setTimeout(next, 700));
  }
  window.result = Object.fromEntries(done);
})();
</script>"""


@pytest.fixture
def foreign(dagster) -> Iterator[str]:
    """Address of a page of another site that tries what a page can."""
    from urllib.parse import quote

    page = FOREIGN.replace("DAGSTER", dagster.address).replace("RAWJS", json.dumps(CHANGE)).replace("RAW", CHANGE)
    page = page.replace("query=CHANGE", "query=" + quote(CHANGE)).replace("PLAIN", CHANGE.replace('"', '\\"'))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # a browser holds localhost and 127.0.0.1 for two sites, and two ports of one for one site but two origins
    yield f"http://HOST:{server.server_port}/"
    server.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_somebody_else_changes_and_reads_nothing(dagster, browser, foreign, host):
    page = browser.new_page()
    sent: list[str] = []
    page.on("request", lambda r: sent.append(f"{r.method} {r.url}") if "/graphql" in r.url else None)
    page.goto(foreign.replace("HOST", host))
    page.wait_for_function("window.result", timeout=PATIENCE)
    result = page.evaluate("window.result")
    page.close()
    assert {result[name] for name in ("socket", "cors", "read")} == {"refused"}
    assert sum(s.startswith("GET") for s in sent) >= 4 and sum(s.startswith("POST") for s in sent) >= 4, sent


@pytest.mark.browser
def test_dagsters_pages_work_behind_the_guard(dagster, browser):
    page = browser.new_page()
    problems: list[str] = []
    sockets: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" and "Security Policy" in m.text else None)
    page.on("response", lambda r: problems.append(f"{r.status} {r.url}") if r.status in (403, 405, 415) else None)
    page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: sockets.append(str(frame))))
    page.goto(f"{dagster.address}/locations", timeout=PATIENCE)
    page.wait_for_selector("text=galaxy_assets", timeout=PATIENCE)
    page.wait_for_selector("text=Loaded", timeout=PATIENCE)
    page.goto(f"{dagster.address}/asset-groups", timeout=PATIENCE)
    page.wait_for_timeout(2000)
    page.close()
    assert problems == [] and any("connection_ack" in frame for frame in sockets)


def test_a_survey_file_that_is_added_is_there_without_a_restart(dagster):
    sensors = "{ sensorsOrError(repositorySelector: SELECTOR) { ... on Sensors { results { name } } } }".replace(
        "SELECTOR", '{repositoryLocationName: "galaxy_assets", repositoryName: "__repository__"}'
    )

    def known() -> set[str]:
        return {row["name"] for row in asked(dagster.address, sensors)["data"]["sensorsOrError"]["results"]}

    assert "demo_radio_deliveries" in known() and "sdss_gz1_deliveries" not in known()
    (dagster.root / "surveys").mkdir(exist_ok=True)
    for name in ("demo_optical", "sdss_gz1"):
        (dagster.root / "surveys" / f"{name}.yaml").write_text(f"extends: {name}\n")
    until = time.monotonic() + 120
    while "sdss_gz1_deliveries" not in known() and time.monotonic() < until:
        time.sleep(0.5)
    assert {"demo_optical_deliveries", "sdss_gz1_deliveries"} < known() and "demo_radio_deliveries" not in known()
