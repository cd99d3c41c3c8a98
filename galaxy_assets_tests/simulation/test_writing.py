"""Simulated deliveries: the same bytes from a seed, each batch whole or absent, nothing written twice."""

import hashlib
from pathlib import Path

import pytest

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.source import Source
from galaxy_assets.simulation import surveys, writing
from galaxy_assets.simulation.surveys import simulate_optical, simulate_radio
from galaxy_assets.storage.files import NotWritten
from galaxy_assets_tests.simulation.conftest import BATCHES


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("make", [simulate_optical, simulate_radio])
def test_bytes_depend_on_the_seed_alone(make, tmp_path):
    for name, processes in (("first", 1), ("again", 1), ("parallel", 2)):
        make(tmp_path / name, batches=BATCHES, n_images=8, seed=5, processes=processes)
    make(tmp_path / "other", batches=BATCHES, n_images=8, seed=6)
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "again") == contents(tmp_path / "parallel")
    assert not set(first.values()) & set(contents(tmp_path / "other").values())


def test_an_image_does_not_depend_on_how_many_follow(tmp_path):
    simulate_optical(tmp_path / "few", batches=["one"], n_images=3, seed=5)
    simulate_optical(tmp_path / "more", batches=["one"], n_images=5, seed=5)
    few, more = contents(tmp_path / "few" / "one"), contents(tmp_path / "more" / "one")
    assert len(few) == 3 and few.items() <= more.items()


def test_a_second_call_does_nothing_and_a_third_replaces_what_was_lost(tmp_path):
    arguments = {"batches": BATCHES, "n_images": 6, "seed": 5}
    simulate_radio(tmp_path, **arguments)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    simulate_radio(tmp_path, **arguments)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    whole = contents(tmp_path)
    for path in (tmp_path / "two").iterdir():
        path.unlink()
    (tmp_path / "two").rmdir()
    (tmp_path / "labels.csv").unlink()
    simulate_radio(tmp_path, **arguments)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("cores", [1, 3, 64])
def test_no_more_processes_draw_than_there_are_cores_to_use_and_images_to_gain_by(monkeypatch, cores):
    monkeypatch.setattr(writing, "usable_cores", lambda: cores)
    for images in (0, 1, 63, 64, 250, 10_000):
        processes = writing._processes(images)
        assert 1 <= processes <= cores and (processes == 1 or processes * 32 <= images)
    assert writing._processes(10_000) == cores and writing._processes(63) == 1


def test_an_interrupted_batch_is_absent(tmp_path, monkeypatch):
    draw, drawn = surveys.draw_radio, []

    def interrupt(*arguments):
        drawn.append(arguments)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(surveys, "draw_radio", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate_radio(tmp_path, batches=BATCHES, n_images=6, seed=5)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(("batches", "n_images"), [((), 5), (BATCHES, 1)])
def test_fewer_images_than_batches_is_an_error(batches, n_images, tmp_path):
    with pytest.raises(ValueError, match=f"{n_images} images over {len(batches)} batches"):
        simulate_optical(tmp_path / "survey", batches=batches, n_images=n_images, seed=0)
    assert not (tmp_path / "survey").exists()


def test_what_keeps_a_simulated_survey_from_being_written_is_said_of_the_disk(tmp_path):
    (tmp_path / "made").write_text("a file in the way")
    source = Source(reader="simulated", path="made/demo", simulate="optical", n_images=8, batches=("b1",))
    with pytest.raises(NotWritten, match="made/demo is not written: .*; name another"):
        open_reader(source, tmp_path)
