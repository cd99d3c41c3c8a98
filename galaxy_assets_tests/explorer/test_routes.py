"""What a browser gets by plain HTTP from a lake written by hand, and which requests are refused."""

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from galaxy_assets.explorer.routes import add_routes
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import PRETRAINED
from galaxy_assets_tests.explorer.small_lake import NAME, N, write_small_lake

OCTETS = "application/octet-stream"


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Shared:
    return Shared(write_small_lake(tmp_path_factory.mktemp("lake") / "data"), "http://127.0.0.1:1")


@pytest.fixture(scope="module")
def client(shared) -> TestClient:
    app = FastAPI()
    add_routes(app, shared)
    return TestClient(app)


@pytest.fixture(scope="module")
def address(shared) -> str:
    return f"/view/{NAME}/imagenet/{shared.view(NAME, 'imagenet').version}"


def test_points_are_all_x_then_all_y_within_one_of_the_centre(client, address):
    answer = client.get(address + "/points")
    points = np.frombuffer(answer.content, "<f4")
    assert answer.headers["content-type"] == OCTETS and "immutable" in answer.headers["cache-control"]
    assert len(points) == 2 * (N - 2) and np.all(np.abs(points) <= 1)
    assert np.all(np.diff(points[: N - 2]) > 0), "the galaxies lie on a line"


def test_colours_are_a_byte_for_each_galaxy(client, address):
    codes = np.frombuffer(client.get(address + "/colours/1?column=cluster").content, np.uint8)
    assert len(codes) == N - 2 and len(set(codes[:10])) == 1 and codes[9] != codes[10]
    assert client.get(address + "/colours/1?column=nonsense").status_code == 404


def test_a_cutout_and_a_frame_are_pictures_and_a_row_says_what_it_is(client, address):
    for picture in ("/image/3/64", "/frame/3"):
        assert client.get(address + picture).headers["content-type"].startswith("image/")
    assert client.get(address + "/about/3?column=cluster").json() == {"id": "g03", "text": "cluster: 0"}
    assert client.get(address + "/about/3").json() == {"id": "g03"}


def test_chosen_rows_come_back_by_the_name_of_their_set(client, address):
    chosen = np.array([5, 2, 9], "<i4").tobytes()
    name = client.post(address + "/rows", content=chosen).text
    assert client.get(f"/rows/{name}").content == chosen


def test_rows_of_one_map_are_not_taken_for_those_of_another(shared, client, address):
    name = client.post(address + "/rows", content=np.array([5, 2], "<i4").tobytes()).text
    first, second = (shared.view(NAME, start) for start in ("imagenet", PRETRAINED))
    assert shared.kept(name, first).rows.tolist() == [5, 2] and shared.kept(name, second) is None


def test_another_map_has_the_same_galaxies_and_their_colours(client, shared, address):
    second = shared.view(NAME, PRETRAINED)
    beside = f"/view/{NAME}/{PRETRAINED}/{second.version}"
    rows = np.frombuffer(client.get(f"{beside}/peers?on=imagenet").content, "<i4")
    assert rows.tolist() == [*range(N - 2), -1, -1], "the last two galaxies were removed and have no place on the first"
    assert np.frombuffer(client.get(f"{address}/peers?on={PRETRAINED}").content, "<i4").tolist() == list(range(N - 2))
    codes = np.frombuffer(client.get(f"{beside}/colours/1?column=cluster&of=imagenet").content, np.uint8)
    own = np.frombuffer(client.get(address + "/colours/1?column=cluster").content, np.uint8)
    assert codes.tolist() == [*own.tolist(), 255, 255]
    assert client.get(f"{beside}/peers?on=nonsense").status_code == 404
    assert client.get(f"{beside}/colours/1?column=cluster&of=nonsense").status_code == 404


def test_what_was_offered_is_downloaded(client, shared, tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    answer = client.get(shared.offer(tmp_path / "table.csv", "cluster 1.csv"))
    assert answer.text == "a\n1\n" and "cluster%201.csv" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "path, status",
    [
        ("/view/nobody/imagenet/1/points", 404),
        (f"/view/{NAME}/nothing/1/points", 404),
        (f"/view/{NAME}/imagenet/an-older-one/points", 410),
        ("{address}/image/58/64", 404),
        ("{address}/image/-1/64", 404),
        ("{address}/image/3/63", 404),
        ("{address}/image/3/large", 422),
        ("/rows/unknown", 404),
        ("/download/unknown", 404),
    ],
)
def test_what_is_not_there_is_said(client, address, path, status):
    assert client.get(path.format(address=address)).status_code == status


@pytest.mark.parametrize("rows, status", [([58], 400), ([-1], 400), (list(range(59)), 413)])
def test_rows_that_the_map_lacks_are_refused(client, address, rows, status):
    assert client.post(address + "/rows", content=np.array(rows, "<i4").tobytes()).status_code == status
    assert client.post(address + "/rows", content=b"abc").status_code == 413
