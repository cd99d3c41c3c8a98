"""What a page saves that was left open: never over what a run or another person made of it since, and never more."""

import csv
from dataclasses import replace

import pyarrow as pa
import pytest

from galaxy_assets.explorer import regions, worksheet
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View
from galaxy_assets.science.artefact_regions import Region, regions_to_table
from galaxy_assets.science.worksheet import Override
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.explorer.small_lake import NAME, keep, turn_map_over

BOX = Region(1, -0.5, -1.0, 3.0, 1.0, 0, 0, 0.0, "drawn by ann", "accepted")


def refit(layout: Layout) -> None:
    """Number the clusters anew, and scatter those of 0: what was 1 is 0, 2 is 1 and so on, 0 is in all."""
    path = layout.table(NAME, "cluster_labels", "b", "imagenet")
    made = read_table(path)
    clusters = [k - 1 if k else i % 5 for i, k in enumerate(made["cluster"].to_pylist())]
    at = made.column_names.index("cluster")
    keep(made.set_column(at, "cluster", pa.array(clusters, pa.int32())), path)


def test_boxes_of_a_map_that_was_made_anew_are_no_rule(layout):
    whole = View(OpenLake(layout), NAME, PRETRAINED)
    regions.save(whole, [BOX], None)
    before = regions.review_text(layout, NAME)
    assert before and whole.drawn_on in before
    turn_map_over(layout)
    new = View(whole.lake, NAME, PRETRAINED)
    assert set(new.ids.take(regions.preview(new, [BOX]).rows).to_pylist()) == {"g59", "g58", "g57", "g56"}
    with pytest.raises(ValueError, match="the map was made anew, and the boxes hold other galaxies"):
        regions.save(whole, [BOX], before)
    assert regions.review_text(layout, NAME) == before
    with pytest.raises(ValueError, match="its box is drawn on map"):
        regions.read_regions(new)
    regions.save(new, [BOX], before)
    assert [box.x0 for box in regions.read_regions(new)] == [-0.5]


def test_a_proposal_of_another_map_is_not_shown_on_this_one(layout):
    whole = View(OpenLake(layout), NAME, PRETRAINED)
    path = layout.table(NAME, "artefact_regions")
    keep(regions_to_table([BOX], whole.drawn_on), path)
    assert [box.region for box in regions.read_regions(whole)] == [1]
    turn_map_over(layout)
    with pytest.raises(ValueError, match="of another map"):
        regions.read_regions(View(whole.lake, NAME, PRETRAINED))


def test_a_review_that_somebody_else_saved_is_not_written_over(layout):
    whole = View(OpenLake(layout), NAME, PRETRAINED)
    regions.save(whole, [BOX], None)
    theirs = regions.review_text(layout, NAME)
    for attempt in (
        lambda: regions.save(whole, [replace(BOX, x1=9.0)], None),
        lambda: regions.put_review(layout, NAME, None, None),
        lambda: regions.put_review(layout, NAME, "x0,y0", "older"),
    ):
        with pytest.raises(ValueError, match="the artefact review was changed since"):
            attempt()
    assert regions.review_text(layout, NAME) == theirs


def test_a_description_goes_to_the_cluster_that_holds_the_galaxies_now(layout, survey, view):
    before = worksheet.read_clusters(view, survey)
    worksheet.save(view, survey, before[1], Override("one"))
    worksheet.save(view, survey, before[2], Override("two"))
    refit(layout)
    worksheet.save(view, survey, replace(before[2], said=Override("two")), Override("still two"))
    said = {c.number: c.said.description for c in worksheet.read_clusters(view, survey)}
    assert {k: words for k, words in said.items() if words} == {0: "one", 1: "still two"}
    with pytest.raises(ValueError, match="the galaxies of cluster 0 are in several by now"):
        worksheet.save(view, survey, before[0], Override("none"))


def test_what_is_said_of_galaxies_whose_ids_have_semicolons_is_found_again(layout, survey, view):
    path = layout.table(NAME, "cluster_labels", "b", "imagenet")
    made = read_table(path)
    ids = [f" {galaxy};b.png" if galaxy[:2] == "g1" else galaxy for galaxy in made["galaxy_id"].to_pylist()]
    keep(made.set_column(made.column_names.index("galaxy_id"), "galaxy_id", pa.array(ids)), path)
    worksheet.save(view, survey, worksheet.read_clusters(view, survey)[1], Override("rings"))
    again = worksheet.read_clusters(view, survey)[1]
    assert again.said == Override("rings") and again.exemplars[0] == " g10;b.png"


def test_a_description_that_somebody_else_saved_is_not_written_over(layout, survey, view):
    mine = worksheet.read_clusters(view, survey)[1]
    worksheet.save(view, survey, mine, Override("theirs", None, True))
    text = layout.cluster_worksheet(NAME).read_text()
    for says in (Override("mine"), Override()):
        with pytest.raises(ValueError, match="cluster 1 is described otherwise by now"):
            worksheet.save(view, survey, mine, says)
    assert layout.cluster_worksheet(NAME).read_text() == text


def test_other_rows_and_columns_of_the_worksheet_stay_as_they_are(layout, survey, view):
    path = layout.cluster_worksheet(NAME)
    path.write_text(
        "\ufeffcolour,init,exemplars,label,seen by,description\r\n"
        'red,imagenet,g10;g11;g12,odd,"ann, bob",\'-1\r\n'
        "\r\n"
        "blue,imagenet, g20; g21 ,,,two\r\n"
        "green,imagenet,g30;g31,,nobody,\r\n",
        encoding="utf-8",
    )
    first, second = worksheet.read_clusters(view, survey)[1:3]
    assert (first.said, second.said) == (Override("-1", "odd"), Override("two"))
    worksheet.save(view, survey, second, Override())  # below an empty line
    worksheet.save(view, survey, first, Override("rings", None, True))
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert rows[0] == ["colour", "init", "exemplars", "label", "seen by", "description", "cluster", "artefact"]
    assert rows[1] == ["red", "imagenet", ";".join(first.exemplars), "", "ann, bob", "rings", "1", "yes"]
    assert rows[2][:2] == ["blue", "imagenet"] and rows[2][3:] == ["", "", "", "2", ""], "a colour is kept"
    assert rows[3] == ["green", "imagenet", "g30;g31", "", "nobody", "", "", ""] and len(rows) == 4
    said = {c.number: c.said for c in worksheet.read_clusters(view, survey) if c.said != Override()}
    assert said == {1: Override("rings", None, True)}
    typed = "\n init ,exemplars, description,'label'\n"
    path.write_text(f"{typed}imagenet,g10;g11,one,odd\n")
    worksheet.save(view, survey, worksheet.read_clusters(view, survey)[1], Override("two", "even"))
    assert path.read_text().startswith(f"{typed.strip(chr(10)).rstrip()},cluster,artefact\n"), "no column comes twice"
    assert worksheet.read_clusters(view, survey)[1].said == Override("two", "even")
    path.write_text("init,exemplars,label\nimagenet,g10;g11,odd\nimagenet,g20,odd\n")
    worksheet.save(view, survey, worksheet.read_clusters(view, survey)[1], Override())
    assert [row[1] for row in csv.reader(path.open())] == ["exemplars", "g20"], "a row that says nothing more goes"
