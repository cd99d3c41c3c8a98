"""A person's query in its process: what it may take of memory and time, and that the next one works."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.query_process import Limits, PersonsQueries
from galaxy_assets.lake.read_model import publish
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

MB = 1_000_000
LIMITS = Limits(seconds=5, memory=400 * MB, answer=64 * MB)
PROCESS_ITSELF = 150 * MB
"""What the process holds before it is asked, with the libraries that it shares with others."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit on address space")


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("asked") / "data")
    write_table(pa.table({"galaxy_id": ["a", "b"], "rank": [1, 2]}), layout.table("s", "anomaly_ranking"))
    publish(layout)
    return layout


@pytest.fixture(scope="module")
def queries(layout) -> Iterator[PersonsQueries]:
    with PersonsQueries(layout, LIMITS) as queries:
        yield queries


def new_children(before: list[psutil.Process]) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child not in before]


class Watched:
    """The most that the children of queries held inside the block, and what this process holds more after it."""

    def __enter__(self) -> "Watched":
        self.me, self.child, self._over = psutil.Process(), 0, threading.Event()
        self._before = self.me.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            for child in self.me.children():
                try:  # other tests have processes too
                    if "galaxy_assets.lake.query_child" in child.cmdline():
                        self.child = max(self.child, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.more = self.me.memory_info().rss - self._before


LARGE = [
    "select repeat('x', 2000000000)",
    "select repeat('x', 700000000)",
    "select range(500000000)",
    "select format('{:>2000000000}', 'x')",
    "select printf('%2000000000d', 1)",
    "select bitstring('1', 2000000000)",
    "select lpad('x', 2000000000, 'y')",
    "select rpad('x', 2000000000, 'y')",
    "select list_resize([1], 500000000)",
    "select list_transform(range(60000), lambda x: list_transform(range(60000), lambda y: x * y))",
    "select string_agg(repeat('x', 1000), '') from range(10000000)",
    "select list(range) from range(1000000000)",
    "select repeat('x', 1000000) from range(300)",
    "select a.range, random() r from range(1000000000) a order by r",
    "select repeat('[', 100000000)::json",
]
ENDLESS = [
    "select count(*) from range(1000000) a, range(1000000) b where a.range % 7 = b.range % 3",
    "with recursive t as (select 1 x union all select x + 1 from t) select max(x) from t",
]


@pytest.mark.parametrize("sql", LARGE + ENDLESS)
def test_what_asks_for_too_much_is_told_so_and_takes_nothing_from_the_server(queries, sql):
    with Watched() as watched, pytest.raises(QueryError, match=r"needs more than 400 MB|no answer within 5 s"):
        queries.ask(sql)
    assert watched.child < LIMITS.memory + PROCESS_ITSELF and watched.more < 100 * MB
    assert queries.ask("select count(*) n from s.anomaly_ranking")["n"].to_pylist() == [2]


def test_an_answer_is_bounded_too(layout):
    with PersonsQueries(layout, LIMITS._replace(answer=1 * MB)) as queries:
        with pytest.raises(QueryError, match="the answer has more than 1 MB"):
            queries.ask("from range(1000000)")
        assert queries.ask("from range(100000)").num_rows == 100_000


def test_tables_and_every_type_go_there_and_back(queries):
    given = pa.table({"galaxy_id": ["b", None], "vector": [[0.5, None], []], "s": [{"x": 1}, None]})
    assert queries.ask("from given", tables={"given": given}).to_pylist() == given.to_pylist()
    answer = queries.ask("select rank from s.anomaly_ranking r join given g using (galaxy_id)", tables={"given": given})
    assert answer["rank"].to_pylist() == [2]
    row = queries.ask(
        "select 1::hugeint h, 1.5::decimal(9, 2) d, interval 1 day i, date '2020-01-01' t, 'x'::blob b, "
        "map {'k': 1} m, null n, uuid() u, [1, 2]::int[2] a, '101'::bit bits"
    ).to_pylist()[0]
    assert (row["h"], str(row["d"]), row["m"], row["a"], row["n"]) == (1, "1.50", [("k", 1)], [1, 2], None)
    with pytest.raises(QueryError, match="there is no table given"):
        queries.ask("from given")


def test_the_process_is_kept_and_replaced_when_it_dies(layout):
    before = psutil.Process().children()
    with PersonsQueries(layout, LIMITS) as queries:
        queries.warm()
        (first,) = new_children(before)
        for _ in range(3):
            queries.ask("select 1")
        assert new_children(before) == [first]
        first.kill()
        first.wait()
        assert queries.ask("select 1").num_rows == 1
    assert new_children(before) == [], "closed, none is left and none is a zombie"


def test_queries_at_once_have_processes_of_their_own_and_two_at_most(layout):
    before = psutil.Process().children()
    with PersonsQueries(layout, LIMITS) as queries, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: queries.ask(f"select {n} n")["n"][0].as_py(), range(20)))
        assert answers == list(range(20)) and len(new_children(before)) <= 2


def test_a_process_whose_owner_is_gone_ends_itself(layout):
    owner = os.fork()
    if owner == 0:
        queries = PersonsQueries(layout, LIMITS._replace(seconds=8))
        asking = threading.Thread(target=queries.ask, args=(ENDLESS[0],), daemon=True)
        asking.start()
        while asking.is_alive() and (not (asked := psutil.Process().children()) or asked[0].cpu_times().user < 0.8):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGSTOP if asking.is_alive() else signal.SIGKILL)
    assert os.WIFSTOPPED(os.waitpid(owner, os.WUNTRACED)[1])
    children = psutil.Process(owner).children()
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    assert children and psutil.wait_procs(children, timeout=30)[1] == []


def test_a_limit_of_the_shell_on_address_space_is_kept_and_answers_come(layout):
    code = (
        "import resource, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_AS, (6 * 10**9,) * 2); "
        "from galaxy_assets.lake.query_process import Limits, PersonsQueries; "
        "from galaxy_assets.storage.layout import Layout; "
        "queries = PersonsQueries(Layout(Path(sys.argv[1])), Limits(60, 10**12, 10**8)); "
        "print(queries.ask('select 7 as n')['n'].to_pylist()); queries.close()"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(layout.root)], capture_output=True, text=True)
    assert ran.stdout == "[7]\n", ran.stderr


def test_a_published_read_model_is_the_next_querys(layout, queries):
    assert queries.ask("from s.anomaly_ranking").num_rows == 2
    write_table(pa.table({"galaxy_id": ["a"]}), layout.table("later", "cutouts", "b"))
    publish(layout)
    assert queries.ask("from later.cutouts").num_rows == 1


def test_the_process_has_none_of_our_secrets_and_nothing_of_the_folder_one_is_in(layout, tmp_path, monkeypatch):
    (tmp_path / "duckdb.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_PASSWORD", "tell-nobody")
    before = psutil.Process().children()
    with PersonsQueries(layout, LIMITS) as queries:
        assert queries.ask("select 1").num_rows == 1
        (child,) = new_children(before)
        assert "A_PASSWORD" not in child.environ()
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        assert "Max file size             0" in limits, "it can write no file"
