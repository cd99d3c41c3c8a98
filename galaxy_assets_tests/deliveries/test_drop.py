"""Deliveries of every kind: found, judged whole, arriving or held, and read in place."""

import csv
import hashlib
import io
import os
import re
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.archives import DamagedArchive, TarArchive, ZipArchive
from galaxy_assets.deliveries.delivery import Delivery
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source


def png(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


CONTENTS = {"a.png": png(1), "deep/b.png": png(2), "deep/er/gal\u00e9xia 3.png": png(3), "broken.png": b"not an image"}


def put_folder(path: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def put_zip(path: Path, contents: dict[str, bytes] = CONTENTS, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def put_tar(path: Path, contents: dict[str, bytes] = CONTENTS, prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = next((c for c in ("gz", "bz2", "xz") if path.name.endswith(c)), "")
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def put_parquet(path: Path, contents: dict[str, bytes] = CONTENTS, column: str = "image", ids: str = "id") -> Path:
    """Images as bytes by ids without suffix, or as Hugging Face has them if the ids are `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stems = [name.removesuffix(".png") for name in contents]
    columns: dict[str, list] = {column: list(contents.values()), "split": ["train"] * len(contents)}
    if ids == "path":
        columns[column] = [{"bytes": data, "path": name} for name, data in contents.items()]
    else:
        columns[ids] = stems
    pq.write_table(pa.table(columns), path)
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "b1.zip": put_zip,
    "b1.ZIP": lambda path: put_zip(path, method=zipfile.ZIP_STORED),
    "b1.tar": lambda path: put_tar(path, prefix="./"),
    "b1.tar.gz": put_tar,
    "b1.tgz": put_tar,
    "b1.tar.bz2": put_tar,
    "b1.tar.xz": put_tar,
    "b1.parquet": put_parquet,
    "b1.PARQUET": lambda path: put_parquet(path, column="bytes", ids="galaxy_id"),
    "b1.Parquet": lambda path: put_parquet(path, ids="path"),
}
SPOOLED = [name for name in KINDS if not name.lower().endswith((".zip", ".tar"))]


def reader(root: Path, **settings):
    return open_reader(Source(**{"reader": "image_folder", "path": "survey"} | settings), root)


def only(root: Path, quiet: float = 0, **settings) -> Delivery:
    (delivery,) = reader(root, **settings).deliveries(quiet)
    return delivery


def rows(root: Path, batch: str = "b1") -> dict[str, dict]:
    return {row["galaxy_id"]: row for row in reader(root).catalogue(batch).to_pylist()}


def put_manifest(path: Path, contents: dict[str, bytes], **columns: Callable[[bytes], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest(contents, **columns))
    return path


def manifest(contents: dict[str, bytes], **columns: Callable[[bytes], object]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", *columns])
    table.writerows([name, *(column(data) for column in columns.values())] for name, data in contents.items())
    return text.getvalue().encode()


# --- each kind


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_delivery_is_the_same_survey(tmp_path, name):
    put_folder(tmp_path / "folder/survey/b1")
    KINDS[name](tmp_path / "packed/survey" / name)
    assert only(tmp_path / "packed").state == "whole"
    assert reader(tmp_path / "packed").batches() == ["b1"]
    expected, found = rows(tmp_path / "folder"), rows(tmp_path / "packed")
    assert set(expected) == {"a", "b", "galéxia 3", "broken"}
    for galaxy, row in expected.items():
        member = next(m for m in CONTENTS if m.endswith(f"{galaxy}.png"))
        assert found[galaxy] == row | {"file": f"{name}!/{member}"}
        if row["problem"] is None:
            one, other = reader(tmp_path / "folder"), reader(tmp_path / "packed")
            assert np.array_equal(one.image(row["file"]), other.image(found[galaxy]["file"]))
    after = only(tmp_path / "packed")
    assert (after.name, after.files, after.bytes) == ("b1", 4, (tmp_path / "packed/survey" / name).stat().st_size)


def test_fits_images_in_archives_know_where_they_are(tmp_path):
    stream = io.BytesIO()
    centre = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": 15.5,
        "CRPIX2": 10.5,
    }
    data = np.arange(600, dtype=np.float32).reshape(20, 30)
    fits.PrimaryHDU(data, fits.Header(centre | {"CDELT1": -1e-4, "CDELT2": 1e-4})).writeto(stream)
    contents = {"a": stream.getvalue()}
    put_parquet(tmp_path / "survey/one.parquet", contents)
    put_zip(tmp_path / "survey/two.zip", {"b.fits": contents["a"]})
    found = reader(tmp_path, reader="fits_folder")
    for batch, file in (("one", "one.parquet!/a.fits"), ("two", "two.zip!/b.fits")):
        (row,) = found.catalogue(batch).to_pylist()
        assert (row["file"], row["ra"], row["dec"]) == (file, pytest.approx(150), pytest.approx(2))
        assert np.array_equal(found.image(row["file"]), data)


def test_parts_of_galaxy_zoo_are_deliveries_as_the_zips_they_come_in(tmp_path):
    contents = {"J004/J004544.11-005037.5.png": png(1), "__MACOSX/J004/._J004544.11-005037.5.png": b"fork"}
    put_zip(tmp_path / "survey/gz_decals_dr5_png_part1.zip", contents)
    put_folder(tmp_path / "survey/part2/J112", {"J112330.91+280016.8.png": png(2)})
    pq.write_table(pa.table({"bytes": [b""]}), tmp_path / "survey/gz_decals_volunteers_5.parquet")
    found = reader(tmp_path, reader="galaxy_zoo_decals")
    assert found.batches() == ["gz_decals_dr5_png_part1", "part2"]
    (row,) = found.catalogue("gz_decals_dr5_png_part1").to_pylist()
    assert (row["galaxy_id"], row["ra"]) == ("J004544.11-005037.5", pytest.approx(11.43379167))


def test_tables_and_hidden_and_partial_files_are_no_deliveries(tmp_path):
    survey = tmp_path / "survey"
    put_folder(survey / "b1", {"a.png": png(1)})
    put_parquet(survey / "labels.parquet")
    pq.write_table(pa.table({"id": ["a"], "image": ["a.png"]}), survey / "other.parquet")
    for name in ("b2.zip.part", "b3.zip.crdownload", ".b4.zip", "b5.tar.tmp", "b6.filepart"):
        put_zip(survey / name)
    put_folder(survey / ".b7")
    put_folder(survey / "b8.partial")
    assert only(tmp_path, labels="labels.parquet").name == "b1"


@pytest.mark.parametrize("name", ["b1.zip", "b1.tar", "b1.tar.gz"])
def test_members_are_read_by_many_threads_at_once(tmp_path, name):
    contents = {f"{i:03}.png": png(i) for i in range(60)}
    (put_zip if name == "b1.zip" else put_tar)(tmp_path / "survey" / name, contents)
    found = reader(tmp_path)
    files = [f"{name}!/{i:03}.png" for i in range(60)] * 8
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(found.image, files))
    expected = {file: np.asarray(Image.open(io.BytesIO(contents[file[-7:]]))) for file in files[:60]}
    assert all(np.array_equal(image, expected[file]) for file, image in zip(files, decoded, strict=True))


# --- spools


@pytest.mark.parametrize("name", SPOOLED)
def test_a_spool_is_written_once_and_replaced_when_its_archive_changes(tmp_path, name):
    path = KINDS[name](tmp_path / "survey" / name)
    put_tar(tmp_path / "survey/.spool/b1-other-0123456789abcdef.tar")  # of the delivery b1-other
    assert only(tmp_path).files in (None, 4)
    rows(tmp_path)
    first, other = sorted(one.name for one in (tmp_path / "survey/.spool").iterdir())
    assert re.fullmatch(r"b1-[0-9a-f]{16}\.tar", first) and other.startswith("b1-other")
    written = (tmp_path / "survey/.spool" / first).stat().st_mtime_ns
    rows(tmp_path)
    assert (tmp_path / "survey/.spool" / first).stat().st_mtime_ns == written
    put = put_parquet if name.lower().endswith("parquet") else put_tar
    put(path, {"new.png": png(9)}, **({"ids": "path"} if put is put_parquet else {}))
    assert set(rows(tmp_path)) == {"new"}
    assert first not in {one.name for one in (tmp_path / "survey/.spool").iterdir()}
    assert len(list((tmp_path / "survey/.spool").iterdir())) == 2


def test_two_readers_at_once_write_one_spool(tmp_path):
    put_tar(tmp_path / "survey/b1.tgz", {f"{i:03}.png": png(i) for i in range(40)})
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: reader(tmp_path).catalogue("b1"), range(4)))
    assert all(table.equals(tables[0]) for table in tables) and tables[0]["problem"].null_count == 40
    assert len(list((tmp_path / "survey/.spool").iterdir())) == 1


def test_a_tar_that_was_decompressed_on_its_way_is_read_as_it_is(tmp_path):
    put_tar(tmp_path / "survey/b1.tar").rename(tmp_path / "survey/b1.tar.gz")
    assert set(rows(tmp_path)) == {"a", "b", "galéxia 3", "broken"}
    assert not (tmp_path / "survey/.spool").exists()


@pytest.mark.parametrize("name", ["b1.tar.gz", "b1.tar.bz2", "b1.tar.xz"])
def test_a_damaged_compressed_tar_is_an_error_when_read_and_then_held_until_mended(tmp_path, name):
    path = put_tar(tmp_path / "survey" / name, CONTENTS | {"big.png": png(5, 200)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-9000])
    assert only(tmp_path).state == "whole"  # nothing short of decompressing it shows the damage
    with pytest.raises(SurveyError, match=rf"{name}: cut short or damaged.*deliver it again"):
        reader(tmp_path).catalogue("b1")
    assert (only(tmp_path).state, only(tmp_path).files) == ("held", None)
    assert [one.suffix for one in (tmp_path / "survey/.spool").iterdir()] == [".damaged"]
    path.write_bytes(whole)
    assert len(reader(tmp_path).catalogue("b1")) == 5
    assert only(tmp_path).state == "whole"
    assert [one.suffix for one in (tmp_path / "survey/.spool").iterdir()] == [".tar"]


def test_rows_of_a_parquet_file_without_id_or_of_one_id_are_images_of_their_own(tmp_path):
    images = [png(1), png(2), png(3), None]
    (tmp_path / "survey").mkdir()
    pq.write_table(pa.table({"image": images, "id": ["x", "x", None, "none"]}), tmp_path / "survey/b1.parquet")
    found = rows(tmp_path)
    assert {name: (row["file"], row["problem"]) for name, row in found.items()} == {
        "x": ("b1.parquet!/2/x.png", None),
        "x#2": ("b1.parquet!/x.png", "duplicate_id"),
        "b1_2": ("b1.parquet!/b1_2.png", None),
        "none": ("b1.parquet!/none.png", "unreadable"),
    }
    assert np.array_equal(reader(tmp_path).image("b1.parquet!/2/x.png"), np.asarray(Image.open(io.BytesIO(images[1]))))


def test_a_parquet_file_whose_ids_are_decimal_numbers_is_held(tmp_path):
    (tmp_path / "survey").mkdir()
    pq.write_table(pa.table({"image": [png(1)], "id": [587722952767439450.0]}), tmp_path / "survey/b1.parquet")
    assert only(tmp_path).state == "held"
    assert only(tmp_path).reason.startswith("column id holds double values; ids are text or whole numbers")
    with pytest.raises(SurveyError, match=r"b1.parquet: column id holds double values"):
        reader(tmp_path).catalogue("b1")
    pq.write_table(pa.table({"image": [png(1)], "id": [587722952767439450]}), tmp_path / "survey/b1.parquet")
    assert set(rows(tmp_path)) == {"587722952767439450"}


# --- damage


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def cut_in_the_middle(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:900] + data[1300:])


def cut_at_the_front(path: Path) -> None:
    path.write_bytes(path.read_bytes()[200:])


def no_archive(path: Path) -> None:
    path.write_text("<html>404 not found</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_the_last_member(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 512 * 4 + 100])


def cut_between_members(path: Path) -> None:
    with tarfile.open(path) as archive:
        end = archive.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:end])


def damaged_header(path: Path) -> None:
    with tarfile.open(path) as archive:
        place = archive.getmembers()[1].offset
    data = bytearray(path.read_bytes())
    data[place : place + 10] = b"x" * 10
    path.write_bytes(data)


def negative_size(path: Path) -> None:
    with tarfile.open(path) as archive:
        info = archive.getmembers()[1]
    header = bytearray(path.read_bytes())
    header[info.offset + 124 : info.offset + 136] = b"\xff" * 10 + b"\xfe\x00"  # -512, which leads back to itself
    header[info.offset + 148 : info.offset + 156] = b" " * 8
    checksum = sum(header[info.offset : info.offset + 512])
    header[info.offset + 148 : info.offset + 156] = f"{checksum:06o}\0 ".encode()
    path.write_bytes(header)


DAMAGE = [
    *(("b1.zip", how) for how in (cut_short, cut_in_the_middle, cut_at_the_front, no_archive, empty)),
    *(("b1.tar", how) for how in (cut_in_the_last_member, cut_between_members, damaged_header, negative_size)),
    *(("b1.tar", how) for how in (no_archive, empty)),
    *(("b1.parquet", how) for how in (cut_short, no_archive, empty)),
]


@pytest.mark.parametrize(("name", "how"), DAMAGE, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_a_damaged_archive_is_held_with_its_reason_until_mended(tmp_path, name, how):
    put_folder(tmp_path / "survey/b2", {"z.png": png(8)})
    path = KINDS[name](tmp_path / "survey" / name)
    whole = path.read_bytes()
    how(path)
    found = reader(tmp_path)
    broken, fine = found.deliveries()
    assert (broken.name, broken.state, broken.files, fine.state) == ("b1", "held", None, "whole")
    assert re.fullmatch(r"cut short or damaged \(.+\); deliver it again", broken.reason)
    assert found.batches() == ["b2"] and len(found.catalogue("b2")) == 1
    with pytest.raises(SurveyError, match=rf"{name}: cut short or damaged"):
        found.catalogue("b1")
    path.write_bytes(whole)
    assert found.batches() == ["b1", "b2"] and len(found.catalogue("b1")) == 4


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["zip", "tar"]))
def test_damage_anywhere_is_a_damaged_archive_an_unreadable_image_or_harmless(tmp_path, data, kind):
    path = KINDS[f"b1.{kind}"](tmp_path / f"b1.{kind}")
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        archive = (ZipArchive if kind == "zip" else TarArchive)(path)
    except DamagedArchive:
        return
    for name in archive.sizes:
        try:
            assert len(archive.read(name)) == archive.sizes[name]
        except UnreadableImage:
            continue


def test_a_damaged_member_is_one_unreadable_row(tmp_path):
    path = put_zip(tmp_path / "survey/b1.zip", {"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 255
    path.write_bytes(content)
    found = rows(tmp_path)
    assert found["b"]["problem"] is None
    assert found["a"]["problem"] == "unreadable" and "damaged in the archive" in found["a"]["reason"]


@pytest.mark.parametrize("name", ["b1.zip", "b1.tar"])
def test_of_members_of_one_name_the_last_counts_and_that_is_said(tmp_path, name, caplog):
    path = KINDS[name](tmp_path / "survey" / name)
    if name == "b1.zip":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", png(9))
    else:
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("a.png")
            info.size = len(png(9))
            archive.addfile(info, io.BytesIO(png(9)))
    assert rows(tmp_path)["a"]["sha256"] == hashlib.sha256(png(9)).hexdigest()
    assert "1 files are replaced by later ones of their name" in caplog.text


def test_unsafe_members_are_unreadable_rows_and_never_opened(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(7))
    secret = str(tmp_path / "secret.png")
    for name in ("b1.zip", "b2.tar"):
        put = put_zip if name == "b1.zip" else put_tar
        put(tmp_path / "survey" / name, {"a.png": png(1), "../../up.png": png(2), "x/../y.png": png(3), secret: png(4)})
    with zipfile.ZipFile(tmp_path / "survey/b1.zip", "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, secret)
    with tarfile.open(tmp_path / "survey/b2.tar", "a") as archive:
        for name, kind, target in (("link.png", tarfile.SYMTYPE, secret), ("hard.png", tarfile.LNKTYPE, "a.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        pipe = tarfile.TarInfo("pipe.png")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    for batch, more in (("b1", {"link"}), ("b2", {"link", "hard", "pipe"})):
        found = rows(tmp_path, batch)
        assert found.pop("a")["problem"] is None
        assert set(found) == {"up", "y", "secret"} | more
        assert {row["problem"] for row in found.values()} == {"unreadable"}
        assert {row["sha256"] for row in found.values()} == {None}
        assert "absolute or has `..`" in found["up"]["reason"] and "link" in found["link"]["reason"]
    with pytest.raises(UnreadableImage, match="leads out"):
        reader(tmp_path).image("../b1.zip!/a.png")


def test_an_encrypted_member_is_an_unreadable_row(tmp_path):
    path = put_zip(tmp_path / "survey/b1.zip", {"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    path.write_bytes(content)
    found = rows(tmp_path)
    assert (found["a"]["problem"], found["b"]["problem"]) == ("unreadable", None)
    assert "encrypted; pack it without a password" in found["a"]["reason"]


def test_an_archive_that_leads_out_of_the_survey_is_held(tmp_path):
    put_zip(tmp_path / "elsewhere.zip")
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey/b1.zip").symlink_to(tmp_path / "elsewhere.zip")
    assert only(tmp_path).state == "held" and "leads out of the survey's folder" in only(tmp_path).reason


def test_an_archive_without_images_is_held(tmp_path):
    put_zip(tmp_path / "survey/b1.zip", {"a.gif": b"GIF89a", "readme.txt": b"hello"})
    assert only(tmp_path).state == "held" and "holds no .png/.jpg/.jpeg/" in only(tmp_path).reason
    with pytest.raises(SurveyError, match=r"no delivery is whole\. b1\.zip: holds no"):
        reader(tmp_path).batches()


# --- arriving


def test_a_delivery_without_manifest_counts_after_the_quiet_period(tmp_path):
    put_folder(tmp_path / "survey/b1")
    put_zip(tmp_path / "survey/b2.zip")
    put_folder(tmp_path / "survey", {"loose.png": png(4)})
    found = reader(tmp_path)
    assert [one.state for one in found.deliveries()] == ["whole"] * 3
    waiting = found.deliveries(3600)
    assert [one.state for one in waiting] == ["arriving"] * 3
    assert all("it counts when nothing in it has changed for 3600 s" in one.reason for one in waiting)
    time.sleep(0.3)
    assert [(one.name, one.state) for one in found.deliveries(0.2)] == [
        ("b1", "whole"),
        ("b2", "whole"),
        ("images", "whole"),
    ]


def test_a_copy_that_keeps_old_times_is_new_all_the_same_and_clocks_ahead_do_not_wait_for_ever(tmp_path):
    put_folder(tmp_path / "survey/b1")
    old = time.time() - 86400
    for path in (tmp_path / "survey/b1").rglob("*"):
        os.utime(path, (old, old))
    assert only(tmp_path, 3600).state == "arriving"
    ahead = time.time() + 86400
    os.utime(tmp_path / "survey/b1/a.png", (ahead, ahead))
    time.sleep(0.3)
    assert only(tmp_path, 0.2).state == "whole" and only(tmp_path).modified.timestamp() < time.time()


def test_what_is_still_being_written_is_not_taken(tmp_path):
    put_folder(tmp_path / "survey/b1")
    with (tmp_path / "survey/b1/deep/c.png").open("wb") as stream:
        stream.write(png(6)[:200])
        stream.flush()
        assert only(tmp_path, 3600).state == "arriving"
    put_folder(tmp_path / "survey/b1", {"deep/.d.png.partial": b""})
    assert only(tmp_path).state == "arriving"
    assert only(tmp_path).reason.startswith("deep/.d.png.partial is still being written; remove it")
    with pytest.raises(SurveyError, match="no delivery is whole. b1: deep/.d.png.partial"):
        reader(tmp_path).batches()
    (tmp_path / "survey/b1/deep/.d.png.partial").unlink()
    assert only(tmp_path).state == "whole"


def test_a_growing_archive_arrives_and_is_held_only_when_nothing_comes_any_more(tmp_path):
    path = put_zip(tmp_path / "survey/b1.zip")
    cut_short(path)
    assert only(tmp_path, 3600).state == "arriving"
    time.sleep(0.3)
    assert only(tmp_path, 0.2).state == "held"


def test_a_zip_that_is_being_unpacked_arrives(tmp_path):
    put_zip(tmp_path / "survey/b1.zip")
    put_folder(tmp_path / "survey/.b1.partial", {"a.png": png(1)})
    assert only(tmp_path).state == "arriving"
    (tmp_path / "survey/.b1.partial").rename(tmp_path / "survey/b1")
    folder, archive = reader(tmp_path).deliveries()
    assert (folder.kind, folder.state, archive.kind, archive.state) == ("folder", "whole", "zip", "held")
    assert "b1 is the delivery b1 already" in archive.reason
    assert {row["file"] for row in rows(tmp_path).values()} == {"b1/a.png"}


# --- manifests


@pytest.mark.parametrize("place", ["inside", "beside"])
@pytest.mark.parametrize("name", ["b1", "b1.zip", "b1.tar"])
def test_a_delivery_with_a_manifest_is_whole_exactly_when_every_file_is_there(tmp_path, name, place):
    listed = manifest(CONTENTS, bytes=len)
    packed = {"manifest.csv": listed} if place == "inside" else {}
    if place == "beside":
        put_manifest(tmp_path / f"survey/{name}.manifest.csv", CONTENTS, bytes=len)

    def deliver(contents: dict[str, bytes]) -> None:
        put = {"b1": put_folder, "b1.zip": put_zip, "b1.tar": put_tar}[name]
        put(tmp_path / "survey" / name, contents | packed)

    deliver({key: data for key, data in CONTENTS.items() if key == "a.png"})
    assert only(tmp_path).state == "held"
    where = "manifest.csv" if place == "inside" else f"{name}.manifest.csv"
    missing = "which is not there (3 of 4 files are missing or of another size); deliver the rest"
    assert only(tmp_path).reason.startswith(f"{where} names deep/b.png, {missing}")
    assert (only(tmp_path, 3600).state, only(tmp_path, 3600).reason) == ("arriving", only(tmp_path).reason)
    short = CONTENTS | {"broken.png": b"not"}
    deliver(short)
    assert "names broken.png, which has 3 bytes and not 12 (1 of 4 files" in only(tmp_path).reason
    with pytest.raises(SurveyError, match=f"{name}: {where} names broken.png"):
        reader(tmp_path).catalogue("b1")
    deliver(CONTENTS)
    assert (only(tmp_path, 3600).state, only(tmp_path, 3600).files) == ("whole", 4)  # no quiet period
    assert len(rows(tmp_path)) == 4


def test_a_manifest_may_come_first_and_its_folder_later(tmp_path):
    put_manifest(tmp_path / "survey/b1/manifest.csv", CONTENTS)
    assert (only(tmp_path).state, only(tmp_path).files, only(tmp_path, 3600).state) == ("held", 0, "arriving")


def test_files_that_the_manifest_does_not_name_are_not_taken_and_that_is_said(tmp_path, caplog):
    named = {"deep/b.png": CONTENTS["deep/b.png"]}
    put_folder(tmp_path / "survey/b1", CONTENTS | {"manifest.csv": manifest(named)})
    assert set(rows(tmp_path)) == {"b"} and only(tmp_path).files == 1
    assert "3 images are not taken, since manifest.csv does not name them" in caplog.text


def test_a_manifest_in_the_one_folder_of_an_archive_names_files_relative_to_it(tmp_path):
    contents = {f"b1/{name}": data for name, data in CONTENTS.items()}
    put_zip(tmp_path / "survey/b1.zip", contents | {"b1/manifest.csv": manifest(CONTENTS, bytes=len)})
    assert only(tmp_path, 3600).state == "whole"


def test_a_manifest_of_a_compressed_archive_is_compared_once_that_is_decompressed(tmp_path):
    path = put_tar(tmp_path / "survey/b1.tar.gz", {"a.png": CONTENTS["a.png"]})
    put_manifest(tmp_path / "survey/b1.tar.gz.manifest.csv", CONTENTS)
    with pytest.raises(SurveyError, match="b1.tar.gz: b1.tar.gz.manifest.csv names deep/b.png"):
        reader(tmp_path).catalogue("b1")
    assert only(tmp_path).state == "held"
    put_tar(path)
    assert len(rows(tmp_path)) == 4


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("name", ["b1", "b1.zip"])
def test_checksums_are_compared_when_the_catalogue_hashes_the_file(tmp_path, name, algorithm):
    promised = CONTENTS | {"a.png": png(99)}
    listed = manifest(promised, **{algorithm: lambda data: hashlib.new(algorithm, data).hexdigest().upper()})
    (put_folder if name == "b1" else put_zip)(tmp_path / "survey" / name, CONTENTS | {"manifest.csv": listed})
    found = rows(tmp_path)
    assert (found["a"]["problem"], found["b"]["problem"]) == ("unreadable", None)
    assert f"its {algorithm} is {hashlib.new(algorithm, CONTENTS['a.png']).hexdigest()}" in found["a"]["reason"]
    assert found["a"]["sha256"] == hashlib.sha256(CONTENTS["a.png"]).hexdigest()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name\na.png\n", "manifest.csv has no column `file`"),
        (b"file\n../secret.png\n", "manifest.csv, line 2: '../secret.png' is no file of the delivery"),
        (b"file,bytes\na.png,12k\n", "manifest.csv, line 2: '12k' is no number of bytes"),
        (b"file\n\xff\n", "manifest.csv is not a CSV in UTF-8"),
        (b"file\n", "manifest.csv names no file"),
    ],
)
def test_a_manifest_that_cannot_be_read_holds_the_delivery(tmp_path, content, reason):
    put_folder(tmp_path / "survey/b1", CONTENTS | {"manifest.csv": content})
    assert only(tmp_path).state == "held" and reason in only(tmp_path).reason


def test_names_of_a_manifest_may_be_composed_or_not(tmp_path):
    put_folder(tmp_path / "survey/b1", {"gale\u0301xia.png": png(1)})
    put_manifest(tmp_path / "survey/b1/manifest.csv", {"./gal\u00e9xia.png": png(1)}, bytes=len)
    assert only(tmp_path).state == "whole" and set(rows(tmp_path)) == {"gal\u00e9xia"}


# --- names and snapshots


def test_names_are_cleaned_and_the_later_of_equal_names_is_held(tmp_path):
    put_folder(tmp_path / "survey/Field 1", {"a.png": png(1)})
    put_zip(tmp_path / "survey/Field_1.tar.zip")
    put_zip(tmp_path / "survey/Field_1.zip")
    put_folder(tmp_path / "survey/Field_2")
    put_folder(tmp_path / "survey/März", {"notes.txt": b"no image"})
    put_zip(tmp_path / "survey/März.zip")
    found = reader(tmp_path).deliveries()
    assert [(one.name, one.path, one.state) for one in found] == [
        ("Field_1", "Field 1", "whole"),
        ("Field_1", "Field_1.zip", "held"),
        ("Field_1.tar", "Field_1.tar.zip", "whole"),
        ("Field_2", "Field_2", "whole"),
        ("März", "März.zip", "whole"),
    ]
    assert "Field 1 is the delivery Field_1 already; take one of them away" in found[1].reason


def test_equal_names_in_folders_of_an_archive_are_ids_with_their_folder(tmp_path):
    put_zip(tmp_path / "survey/b1.zip", {"x/a.png": png(1), "y/a.png": png(2), "b.png": png(3), "x/c.png": png(4)})
    found = reader(tmp_path).catalogue("b1", taken=["b", "other"]).to_pylist()
    assert [(row["galaxy_id"], row["file"][8:], row["problem"]) for row in found] == [
        ("b#2", "b.png", "duplicate_id"),
        ("b1/x/a", "x/a.png", None),
        ("b1/y/a", "y/a.png", None),
        ("c", "x/c.png", None),
    ]


def test_the_snapshot_changes_with_names_sizes_and_times_of_images_and_not_otherwise(tmp_path):
    survey = tmp_path / "survey"
    put_folder(survey / "b1")
    seen = [only(tmp_path).snapshot]
    assert re.fullmatch("[0-9a-f]{16}", seen[0])
    (survey / "b1/readme.txt").write_text("not an image")
    (survey / "b1").rename(survey / "b2")
    os.utime(survey / "b2")
    assert only(tmp_path).snapshot == seen[0]
    for change in (
        lambda: (survey / "b2/a.png").write_bytes(png(11)),
        lambda: (survey / "b2/a.png").rename(survey / "b2/c.png"),
        lambda: (survey / "b2/c.png").unlink(),
        lambda: put_manifest(survey / "b2/manifest.csv", {"deep/b.png": b""}),
    ):
        change()
        seen.append(only(tmp_path).snapshot)
        assert only(tmp_path).snapshot == seen[-1]
    assert len(set(seen)) == 5


@pytest.mark.parametrize("name", ["b1.zip", "b1.tgz"])
def test_the_snapshot_of_an_archive_is_of_the_file_itself(tmp_path, name):
    path = KINDS[name](tmp_path / "survey" / name)
    before = only(tmp_path).snapshot
    rows(tmp_path)  # may write a spool
    assert only(tmp_path).snapshot == before
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert only(tmp_path).snapshot != before


def test_a_folder_that_cannot_be_read_is_held(tmp_path):
    put_folder(tmp_path / "survey/b1")
    (tmp_path / "survey/b1/deep").chmod(0)
    if os.access(tmp_path / "survey/b1/deep", os.R_OK):
        pytest.skip("permissions do not bind this user")
    found = only(tmp_path)
    (tmp_path / "survey/b1/deep").chmod(0o755)
    assert (found.state, found.reason) == ("held", "cannot be read: Permission denied; correct its permissions")
