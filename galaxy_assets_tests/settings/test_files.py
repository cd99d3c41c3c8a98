"""Which surveys a data folder has: enabled ones, templates, and broken files, each of which hides itself alone."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from galaxy_assets.settings.files import SHIPPED, SurveyError, enable, survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

NAMES = ["demo_optical", "demo_radio", "gz_decals", "mirabest", "sdss_gz1"]
GOOD = "name: good\ntitle: Good\ndescription: d\nsource: {reader: image_folder, path: good}\n"
MINE = GOOD.replace("good", "mine")


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of survey files, with a good one in it."""
    folder = tmp_path / "surveys"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    return folder


def bad_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


def bad(text: str):
    return bad_bytes(text.encode())


def bomb() -> str:
    """A page of YAML that is gigabytes when written out."""
    levels = ["a0: &a0 [ha, ha]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    return "\n".join(levels)


def merges() -> str:
    """A page whose merged mappings have billions of keys."""
    levels = ["a0: &a0 {x: 1, y: 2}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 20)]
    return "\n".join(levels) + "\n"


def chain() -> str:
    """A page of lists that are each inside the next."""
    return "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 3000))]) + "\n"


def hole(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(10**10)


def bind(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's own path may have 107 bytes
    os.close(folder)


HIDDEN = (
    ".#good.yaml",
    "._good.yaml",
    ".good.yaml.0123.partial",
    "good_clusters.csv",
    "good.yaml~",
    "#good.yaml#",
    ".DS_Store",
    "good.yaml.bak",
    "Thumbs.db",
)
BAD = {
    "a folder": (lambda path: path.mkdir(), "a folder, where a survey file is expected"),
    "empty": (bad(""), "empty; write a survey there"),
    "comments alone": (bad("# nothing\n"), "empty; write a survey there"),
    "Latin-1": (bad_bytes(MINE.replace("Mine", "Sérsic").encode("latin-1") + b"\xe9"), "not UTF-8 text"),
    "UTF-16": (bad_bytes(MINE.encode("utf-16")), "not UTF-8 text (byte 1 is 0xff)"),
    "not YAML": (bad("name: [\n"), "not valid YAML: "),
    "a tab": (bad("name: mine\n\ttitle: x\n"), "in line 2, column 1"),
    "control characters": (bad_bytes(b"name: mine\x1b[31m\n"), "not valid YAML: "),
    "a list": (bad("- a\n- b\n"), "not a survey"),
    "nested deeply": (bad("a: " + "[" * 1000), "nested too deeply"),
    "nested deeply in blocks": (bad("".join(f"{' ' * i}a:\n" for i in range(2000))), "nested too deeply"),
    "an impossible date": (
        bad(MINE + "reference: 2024-13-45\n"),
        "cannot be read (month must be in 1..12)",
    ),
    "a value that is none": (bad(MINE + "variance: !!float many\n"), "a value that cannot be read"),
    "a tag of Python's": (bad("!!python/object/apply:os.system ['true']\n"), "not valid YAML: could not determine"),
    "a newer version": (bad(MINE + "version: 2\nnew_key: 1\n"), "written by a newer galaxy-assets (this one reads 1)"),
    "a version in words": (bad(MINE + "version: true\n"), "version: expected a whole number"),
    "a wrong key": (bad(MINE + "recipe: {epoch: 3}\n"), "recipe.epoch: there is no such setting"),
    "many wrong keys": (bad(MINE + "".join(f"k{i}: 1\n" for i in range(50))), "and 42 more"),
    "keys that are no text": (bad(MINE + "1: 2\n"), "Keys should be strings"),
    "a list for a word": (bad(MINE + "recipe: {preset: [small]}\n"), "recipe.preset"),
    "an unknown reader": (bad(MINE.replace("image_folder", "tape")), "source.reader"),
    "extends no shipped one": (bad("extends: nosuch\n"), "extends 'nosuch', which is not shipped"),
    "extends a path": (bad("extends: ../offline/mirabest\n"), "which is not shipped"),
    "extends a bomb": (bad(bomb() + "\nextends: *a19\n"), "more than 10000 values"),
    "a bomb for a path": (bad(bomb() + "\nsource: {reader: image_folder, path: *a19}\n"), "more than 10000 values"),
    "a bomb where anything may stand": (
        bad(bomb() + "\n" + MINE.replace("path: mine", "path: mine, options: {deep: *a19}")),
        "more than 10000 values",
    ),
    "a bomb of merges": (bad(merges() + MINE), "more than 10000 values"),
    "a chain of aliases": (bad(chain() + MINE), "nested too deeply"),
    "itself inside itself": (bad(MINE + "recipe: &a {preset: *a}\n"), "refers to itself"),
    "a key twice": (bad(MINE + "title: Other\n"), "the key 'title' is there twice"),
    "two documents": (bad(MINE + "---\n" + MINE), "but found another document"),
    "a null byte": (bad(MINE + "reference: a\0b\n"), "not valid YAML"),
    "5,000 digits": (bad(MINE + f"version: {'9' * 5000}\n"), "a value that cannot be read"),
    "a date for a title": (bad(MINE.replace("title: Good", "title: 2026-13-45")), "a value that cannot be read"),
    "a real date for a title": (bad(MINE.replace("title: Good", "title: 2026-01-31")), "title: "),
    "a key that is a list": (bad(MINE + "? [a, b]\n: 1\n"), "not valid YAML: found unhashable key"),
    "many values": (bad(MINE + "reference: [" + "1, " * 10_000 + "1]\n"), "more than 10000 values"),
    "too many pages": (bad(MINE + "#" * 2**22), "has more than 4194304 bytes"),
    "a hole of 10 GB": (hole, "has more than 4194304 bytes"),
    "a socket": (lambda path: bind(path), "no regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    "itself": (bad(MINE + "start_weights: [imagenet, mine]\n"), "in a circle: mine <- mine"),
    "no survey": (
        bad(MINE + "start_weights: [imagenet, gz_decal]\n"),
        "'gz_decal' are not classical, imagenet, random",
    ),
    "a name that is taken": (bad(GOOD), "survey 'good' is already defined in "),
    "a dangling link": (lambda path: path.symlink_to("gone.yaml"), "a link to gone.yaml, which is not there"),
    "a link in a circle": (
        lambda path: path.symlink_to(path.name),
        "cannot be read: Too many levels",
    ),
    "a pipe": (lambda path: os.mkfifo(path), "no regular file"),
}


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD)
def test_a_broken_file_hides_itself_alone_and_says_why(folder, make, says, suffix):
    path = folder / f"mine{suffix}"
    make(path)
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good"] and sorted(files.templates) == NAMES
    assert list(files.broken) == [path]
    why = files.broken[path]
    assert why.startswith(f"{path}: ") and says in why and why.isprintable() and len(why) < 2000
    with pytest.raises(SurveyError) as caught:
        files.named("mine")
    assert str(caught.value) == why


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_broken(folder):
    (folder / "mine.yaml").write_text(MINE)
    (folder / "mine.yaml").chmod(0)
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good"] and "Permission denied" in files.broken[folder / "mine.yaml"]


def test_hidden_files_and_other_files_are_no_surveys(folder):
    for name in HIDDEN:
        (folder / name).write_text("name: [")
    (folder / ".#mine.yaml").symlink_to("user@host.1:2")  # the lock of an editor
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good"] and not files.broken


def test_a_folder_of_surveys_that_is_a_file_is_said(tmp_path):
    (tmp_path / "surveys").write_text("")
    files = survey_files(tmp_path)
    assert "cannot be listed" in files.broken[tmp_path / "surveys"]
    assert list(files.enabled) == ["demo_optical", "demo_radio"]


def test_a_file_of_version_1_is_read_and_a_survey_has_no_such_key(folder):
    (folder / "mine.yaml").write_text("version: 1\n" + MINE)
    mine = survey_files(folder.parent).named("mine")
    assert "version" not in mine.model_dump()


@pytest.mark.parametrize("text", ["name: [", "extends: gz_decals\nrecipe: {epoch: 3}\n", ""])
def test_a_broken_file_of_a_shipped_name_is_not_replaced_by_the_template(folder, text):
    (folder / "gz_decals.yaml").write_text(text)
    files = survey_files(folder.parent)
    assert "gz_decals" not in files.known and list(files.enabled) == ["good"]
    # mirabest takes start weights from it
    assert "mirabest" not in files.known
    assert files.broken[SHIPPED / "mirabest.yaml"].endswith(
        f"start weights 'gz_decals' come from {folder / 'gz_decals.yaml'}, which is broken; correct that file"
    )
    with pytest.raises(SurveyError, match="gz_decals.yaml: "):
        files.named("gz_decals")
    with pytest.raises(SurveyError, match="gz_decals.yaml: "):
        enable("gz_decals", folder.parent)


def test_a_broken_file_of_another_name_that_gives_a_shipped_one_is_not_replaced_either(folder):
    (folder / "galaxy_zoo.yaml").write_text("extends: demo_radio\nrecipe: {epoch: 3}\n")
    files = survey_files(folder.parent)
    assert "demo_radio" not in files.known
    for name in ("demo_radio", "galaxy_zoo"):
        with pytest.raises(SurveyError, match="galaxy_zoo.yaml: recipe.epoch"):
            files.named(name)


def test_what_starts_from_a_broken_survey_is_broken_too_through_others(folder):
    (folder / "mine.yaml").write_text("name: [")
    (folder / "child.yaml").write_text(GOOD.replace("good", "child") + "start_weights: [imagenet, mine]\n")
    (folder / "grandchild.yaml").write_text(GOOD.replace("good", "grandchild") + "start_weights: [imagenet, child]\n")
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good"] and len(files.broken) == 3
    assert f"come from {folder / 'mine.yaml'}" in files.broken[folder / "child.yaml"]
    assert f"come from {folder / 'child.yaml'}" in files.broken[folder / "grandchild.yaml"]


def test_start_weights_in_a_circle_break_those_in_it_and_what_starts_from_them(folder):
    for name, start in [("a", "b"), ("b", "a"), ("c", "a")]:
        text = GOOD.replace("name: good", f"name: {name}") + f"start_weights: [imagenet, {start}]\n"
        (folder / f"{name}.yaml").write_text(text)
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good"]
    assert "circle: a <- b <- a" in files.broken[folder / "a.yaml"]
    assert "circle: b <- a <- b" in files.broken[folder / "b.yaml"]
    assert f"come from {folder / 'a.yaml'}, which is broken" in files.broken[folder / "c.yaml"]


def test_of_two_files_for_one_survey_the_one_that_bears_its_name_counts(folder):
    (folder / "a_copy.yaml").write_text(GOOD.replace("Good", "Copy"))
    files = survey_files(folder.parent)
    assert files.named("good").title == "Good"
    assert list(files.broken) == [folder / "a_copy.yaml"]


def test_a_users_file_is_a_survey_and_can_replace_or_extend_a_shipped_one(folder):
    (folder / "gz.yaml").write_text("extends: gz_decals\nrecipe: {epochs: 3}\n")
    files = survey_files(folder.parent)
    assert list(files.enabled) == ["good", "gz_decals"] and files.named("good").recipe == Recipe()
    assert files.named("gz_decals").recipe.epochs == 3 and files.named("gz_decals").recipe.batch_size == 128


def test_an_unknown_survey_is_told_with_the_known_ones(folder):
    with pytest.raises(SurveyError, match=r"no survey no\\x1bsuch in .*; known are demo_optical, .*, good, "):
        survey_files(folder.parent).named("no\x1bsuch")


def test_with_none_enabled_the_demo_surveys_are(tmp_path):
    files = survey_files(tmp_path)
    assert list(files.enabled) == ["demo_optical", "demo_radio"]
    assert list(files.templates) == ["gz_decals", "mirabest", "sdss_gz1"] and not files.broken
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("partition", [(), ("first",), ("first", "imagenet")])
def test_a_shipped_survey_with_tables_is_enabled_without_a_file(tmp_path, partition):
    write_table(pa.table({"a": [1]}), Layout(tmp_path).table("mirabest", "catalogue", *partition))
    assert list(survey_files(tmp_path).enabled) == ["mirabest"]


def test_folders_and_hidden_files_in_the_lake_are_no_tables(tmp_path):
    home = tmp_path / "lake" / "mirabest"
    (home / "figures").mkdir(parents=True)
    (home / "figures" / "figure_01.png").write_bytes(b"")
    (home / ".withdrawn").mkdir()
    (home / ".withdrawn" / "catalogue.parquet").write_bytes(b"")
    (home / ".catalogue.parquet.0123.partial").write_bytes(b"")
    assert list(survey_files(tmp_path).enabled) == ["demo_optical", "demo_radio"]


def test_enabling_writes_a_file_that_extends_the_shipped_one_once(tmp_path):
    before = survey_files(tmp_path).named("mirabest")
    path = tmp_path / "surveys" / "mirabest.yaml"
    assert enable("mirabest", tmp_path) == path
    text = path.read_text()
    assert text.count("#") == 1 and text.count("\n") == 2 and yaml.safe_load(text) == {"extends": "mirabest"}
    files = survey_files(tmp_path)
    # what its start weights name is known and not enabled
    assert list(files.enabled) == ["mirabest"] and "gz_decals" in files.templates
    assert files.named("mirabest").fingerprint() == before.fingerprint()
    path.write_text(text + "title: Mine\n")
    assert enable("mirabest", tmp_path) is None and survey_files(tmp_path).named("mirabest").title == "Mine"
    assert [one.name for one in (tmp_path / "surveys").iterdir()] == ["mirabest.yaml"]
    with pytest.raises(SurveyError, match="no survey nosuch"):
        enable("nosuch", tmp_path)


def test_a_survey_described_by_any_file_is_not_written_again(folder):
    (folder / "radio.yml").write_text("extends: demo_radio\n")
    assert enable("demo_radio", folder.parent) is None and enable("good", folder.parent) is None
    assert sorted(one.name for one in folder.iterdir()) == ["good.yaml", "radio.yml"]


def test_enabling_never_replaces_a_file_of_another_survey(folder):
    (folder / "demo_radio.yaml").write_text(MINE)
    with pytest.raises(SurveyError, match="exists and describes another survey than demo_radio; rename that file"):
        enable("demo_radio", folder.parent)
    assert (folder / "demo_radio.yaml").read_text() == MINE


def test_of_several_that_enable_at_once_one_writes_and_none_fails(tmp_path):
    written: list[Path | None] = []
    start = threading.Barrier(8)

    def once() -> None:
        start.wait()
        written.append(enable("sdss_gz1", tmp_path))

    threads = [threading.Thread(target=once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 8 and len([path for path in written if path]) == 1
    assert [one.name for one in (tmp_path / "surveys").iterdir()] == ["sdss_gz1.yaml"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "surveys").write_text("")
    with pytest.raises(SurveyError, match=r"sdss_gz1.yaml: cannot be written: .*; correct"):
        enable("sdss_gz1", tmp_path)


def test_text_of_strangers_is_printed_and_not_obeyed(folder):
    assert printable("a\x1b[31mb\nc\u202ed\udcffé") == "a\\x1b[31mb\\nc\\u202ed\\udcffé"
    (folder / "mi\x1b]0;title\x07ne.yaml").write_text(MINE + '"\\e[31mkey\\n": 1\nextends: "\\e[2J"\n')
    (folder / os.fsdecode(b"caf\xe9.yaml")).write_text("name: [")
    (folder / "wrong.yaml").write_text(MINE + '"\\e[31mkey\\n": 1\n')
    broken = survey_files(folder.parent).broken
    assert len(broken) == 3 and all(why.isprintable() for why in broken.values())
    assert "\\x1b[31mkey\\n: there is no such" in broken[folder / "wrong.yaml"]


TRIED_KEYS = "cutout.method, cutout.source, cutout.align, cutout.flux_fraction, cutout.enlarge, cutout.central_pixels"


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "cutout: {method: autoo}": "cutout.method: no cutters plug-in 'autoo'; registered are central, flux_radius, "
        "sigma_clip, whole; name one of these or install its package; read 'autoo', did you mean `auto`?",
        "cutout: autoo": "cutout: expected settings, each as `key: value`; read 'autoo', did you mean `auto`?",
        "recipe: auto": "recipe.preset: expected 'paper' or 'small'; read 'auto', and `auto` may stand for "
        "recipe.image_size, recipe.orientations, recipe.rotation_maximum, recipe.contrast.",
        "recipe: smal": "recipe.preset: expected 'paper' or 'small'; read 'smal', did you mean `small`?",
        "recipe: {image_size: automatic}": "recipe.image_size: expected a whole number; read 'automatic', did you mean "
        "`auto`?",
        "recipe: {orientations: AUTO}": "recipe.orientations: expected 1, 4 or 8; read 'AUTO', did you mean `auto`?",
        "recipe: {epochs: auto}": "recipe.epochs: expected a whole number; read 'auto', and `auto` may stand for "
        "recipe.image_size, recipe.orientations",
        "mixture: auto": f"read 'auto', and `auto` may stand for the whole of `cutout`, or {TRIED_KEYS}",
        "artefacts: {trail_length: atuo}": "artefacts.trail_length: expected a number or expected 'auto'; read 'atuo', "
        "did you mean `auto`?",
        "auto: cutout": "auto: expected a list, such as [cutout]; read 'cutout', and it may hold `cutout`, "
        f"{TRIED_KEYS}",
        "auto: [cutout.methd]": "and not cutout.methd, did you mean `cutout.method`?",
        "recipe: {beside: start}": "recipe.beside: expected a list, such as [start], or factors, such as {start: 1.0}; "
        "read 'start'",
        "recipe: {beside: [strat]}": "recipe.beside names strat, which is none of classical, imagenet, middle, "
        "pyramid, random, rgz, start, did you mean `start`?",
        "cutout:": "cutout: expected settings, each as `key: value`; read nothing: write its value, or `auto`, or "
        "delete the line",
        "umap:": "umap: expected settings, each as `key: value`; read nothing: write its value, or delete the line",
        "cutout: {metod: auto}": "cutout.metod: there is no such setting, did you mean `method`?",
        "start_weights: imagenet": "start_weights: expected a list, such as [imagenet]; read 'imagenet'.",
        "recipe: {backbone: resnett18}": "recipe.backbone: 'resnett18' is no model of timm; timm.list_models() names "
        "them, did you mean `resnet18`?",
        "networks: {zoo: {backbone: resnet18}}": "networks.zoo.weights: is missing; write it",
        "networks: {zoo: {backbone: resnet18, weights: no.pt}}": "networks.zoo.weights: {root}/no.pt is not there; put",
        "networks: {zoo: {backbone: zoobot, weights: half.safetensors}}": "networks.zoo.backbone: 'zoobot' is no model",
        "networks: {zoo: {backbone: resnet18.tag, weights: half.safetensors}}": "networks.zoo.weights: {root}/half."
        "safetensors is no safetensors file, or not all of it",
        "networks: {zoo: {backbone: resnet18, weights: page.pth}}": "networks.zoo.weights: {root}/page.pth is no file "
        "of tensors that torch saved",
        "networks: {zoo: {backbone: resnet18, weights: surveys}}": "networks.zoo.weights: {root}/surveys cannot be read"
        ": a folder",
    }.items(),
)
def test_what_is_wrong_is_said_with_what_was_read_and_what_was_meant(folder, text, says):
    root = folder.parent
    (root / "half.safetensors").write_bytes((5000).to_bytes(8, "little") + b"{" * 100)
    (root / "page.pth").write_text("<html>")
    (folder / "mine.yaml").write_text(f"{MINE}{text}\n")
    (folder / "other.yaml").write_text(MINE.replace("name: mine", "name: other"))
    files = survey_files(root)
    assert list(files.broken) == [folder / "mine.yaml"] and "other" in files.enabled
    said = files.broken[folder / "mine.yaml"]
    assert f"{folder / 'mine.yaml'}: " in said and says.replace("{root}", str(root)) in said


def test_a_network_that_can_be_had_breaks_nothing_and_loads_no_torch(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, folder.parent / "a.safetensors")
    torch.save({"a": torch.zeros(2)}, folder.parent / "b.pth")
    of = "{backbone: %s, weights: %s}"
    (folder / "mine.yaml").write_text(
        MINE
        + f"networks: {{a: {of % ('resnet18', 'a.safetensors')}, b: {of % ('vit_base_resnet50_384', 'b.pth')}}}\n"
        + "start_weights: [imagenet, a, b]\n"
    )
    assert not survey_files(folder.parent).broken
    code = "import sys; from pathlib import Path; from galaxy_assets.settings.files import survey_files\n"
    code += f"assert not survey_files(Path({str(folder.parent)!r})).broken\n"
    code += "assert not {'torch', 'timm'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_address_is_not_repeated_since_it_may_hold_a_password(folder):
    (folder / "mine.yaml").write_text(
        MINE.replace("path: mine", "path: 3, images: [s3://me:secret@x], batches: s3://x:y@z")
    )
    said = survey_files(folder.parent).broken[folder / "mine.yaml"]
    assert "source.batches: expected a list, such as [...]" in said and "secret" not in said and "x:y" not in said
