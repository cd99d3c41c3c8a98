"""What the survey delivered: the catalogue of images and the volunteers' votes (paper 2).

Belongs here: assets that read the survey's files. Does not belong here: decoding and ids (`deliveries`), vote rules
(`science`).
"""

from collections.abc import Collection
from datetime import UTC, datetime

import pyarrow as pa

from galaxy_assets.deliveries import ids, taken
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.tables import notes_of
from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import IN_TURN, OWN_BATCH, Result, SurveyContext, survey_asset
from galaxy_assets.orchestration.external import DELIVERY, LABEL_TABLE, VOTE_TABLE
from galaxy_assets.science import votes
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.tables import read_table

HISTORY = pa.schema(
    [
        ("galaxy_id", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("state", pa.string()),
        ("first_seen", pa.timestamp("us", "UTC")),
        ("last_seen", pa.timestamp("us", "UTC")),
    ]
)
ABSENT = pa.schema([("galaxy_id", pa.string()), ("label", pa.string()), ("reason", pa.string())])


CATALOGUE_COLUMNS = shared("galaxy_id", "batch") | {
    "file": "where the reader finds the image: its path below the survey's folder, or a name of the reader's own",
    "sha256": "sha256 of the file's bytes (MiraBest: of its pixels); null where they could not be read",
    "width": ("width of the delivered image; null where it could not be read", "pix"),
    "height": ("height of the delivered image; null where it could not be read", "pix"),
    "ra": ("right ascension; null where the survey does not say", "deg"),
    "dec": ("declination; null where the survey does not say", "deg"),
    "label": "class by the survey's own labels; null where it has none",
    "problem": "unreadable, too_small, too_large or duplicate_id; null where nothing is wrong",
    "reason": "the problem in words; null where there is none",
}


@survey_asset(
    "1_delivery",
    paper="2",
    by="batch",
    files=[DELIVERY, LABEL_TABLE],
    settings=lambda survey: [survey.source],
    columns=CATALOGUE_COLUMNS,
    version="4",
)
def delivered_images(context: SurveyContext) -> Result:
    """One row per delivered image, as the delivery alone tells it: two deliveries may give the same id. An image
    that cannot be read is a row too.
    """
    table = open_reader(context.survey.source, context.layout.raw).catalogue(context.batch)
    return Result(table, {"images": table.num_rows})


@survey_asset(
    "1_delivery",
    paper="2; not in the paper",
    reads={"delivered_images": IN_TURN},
    files=[LABEL_TABLE],
    settings=lambda survey: [survey.source],
    columns={
        "batch": "delivery that may not give the id",
        "galaxy_id": "id that an image of an earlier delivery has, in the order of the deliveries' names",
        "kept_by": "the first delivery with an image of that id, which keeps it; the batch itself where a row of the "
        "table of labels may mean that id or a later delivery's image of that name",
        "sha256": "sha256 of that image's file; null where it could not be read",
    },
    version="2",
)
def taken_ids(context: SurveyContext, delivered_images: TablesInTurn) -> Result:
    """Ids that images of several deliveries would have: the delivery whose name sorts first keeps an id, whichever was
    made first. One row per id and later delivery; that delivery's `catalogue` says what became of its image.
    """
    labelled = open_reader(context.survey.source, context.layout.raw).labelled()
    table = taken.taken_ids(
        list(zip(delivered_images.versions, delivered_images.paths, strict=True)),
        [] if labelled is None else labelled["galaxy_id"].to_pylist(),
        by_name=context.survey.source.file_column is None,
    )
    return Result(table, {"ids": table.num_rows}, by_batch=True)


@survey_asset(
    "1_delivery",
    paper="2",
    by="batch",
    reads={"delivered_images": {}, "taken_ids": OWN_BATCH},
    files=[DELIVERY, LABEL_TABLE],
    settings=lambda survey: [survey.source],
    version="4",
    explorer=4,
    columns=CATALOGUE_COLUMNS,
)
def catalogue(context: SurveyContext, delivered_images: pa.Table, taken_ids: pa.Table) -> Result:
    """One row per delivered image: its file, sha256, size, position and label, and what is wrong with it if
    anything is. An image that cannot be read is a row too. No two images of a survey have the same id: where an earlier
    delivery has it, the image is a duplicate, or, where it differs and its folder tells it apart, it has another id.
    """
    survey, table = context.survey, delivered_images
    if taken_ids.num_rows:
        from galaxy_assets.deliveries.readers.image_folder import ImageFolder

        reader, rows = open_reader(survey.source, context.layout.raw), taken_ids.to_pylist()
        if isinstance(reader, ImageFolder):
            reader.pass_over({row["galaxy_id"] for row in rows if row["kept_by"] == context.batch})
        names = {row["galaxy_id"]: row["sha256"] for row in rows if row["kept_by"] != context.batch}
        table = reader.catalogue(context.batch, names)
    return Result(
        table,
        {
            "images": table.num_rows,
            "reference": survey.reference,
            "problems": table.num_rows - table["problem"].null_count,
            "labelled": table.num_rows - table["label"].null_count,
        },
    )


@survey_asset(
    "1_delivery",
    paper="2; not in the paper",
    by="batch",
    reads=["catalogue"],
    columns=shared("galaxy_id")
    | {
        "file": "where the image was when it was last found",
        "sha256": "sha256 of the file's bytes (MiraBest: of its pixels)",
        "state": "present, replaced (other bytes have its id now) or removed",
        "first_seen": "when these bytes were first found under this id",
        "last_seen": "when they were last found",
    },
)
def image_history(context: SurveyContext, catalogue: pa.Table) -> Result:
    """Every image that was ever delivered in the batch, by its bytes: when it was first and last found there, and
    whether it is there still, was replaced by other bytes, or was removed.
    """
    import pyarrow.compute as pc

    before = context.layout.table(context.survey.name, "image_history", context.batch)
    table = history(read_table(before) if before.exists() else None, catalogue, datetime.now(UTC))
    counts = {c["values"]: c["counts"] for c in pc.value_counts(table["state"]).to_pylist()}
    return Result(table, {f"images {state}": n for state, n in counts.items()}, unversioned=["last_seen"])


@survey_asset(
    "1_delivery",
    paper="2; not in the paper",
    reads=["catalogue"],
    files=[VOTE_TABLE],
    settings=lambda survey: [survey.source],
    columns={
        "galaxy_id": "id of the galaxy by the survey's table of labels",
        "label": "its class there; null where it has none",
        "reason": "no image of that name was delivered, several were, or the table names it more than once",
    },
    version="3",
)
def absent_images(context: SurveyContext, catalogue: pa.Table) -> Result:
    """Galaxies that the survey's table of labels names and of which no image was delivered, or several of that name,
    or that it names twice, with the reason.
    """
    labelled = open_reader(context.survey.source, context.layout.raw).labelled()
    if labelled is None:
        return Result(ABSENT.empty_table(), {"labels": "the survey has no table of labels"})
    notes = notes_of(labelled)
    told = {"how the table was read": "; ".join(notes)} if notes else {}
    several: set[str] = set()
    if context.survey.source.file_column is None:
        several = ids.several_have(zip(catalogue["batch"].to_pylist(), catalogue["galaxy_id"].to_pylist(), strict=True))
    return Result(absent(labelled, catalogue, several), {"labels": labelled.num_rows} | told)


@survey_asset(
    "1_delivery",
    paper="2",
    files=[VOTE_TABLE],
    settings=lambda survey: [survey.source],
    explorer=10,
    columns=shared("galaxy_id")
    | {
        "total_votes": "volunteers who answered the first question; null where the survey gives no counts",
        "*_total-votes": "volunteers who answered the question; null where the survey gives no counts",
        "*_fraction": "share of the question's votes for the answer, 0 to 1, in Galaxy Zoo 2 weighted by the "
        "volunteers' consistency; null where nobody was asked",
        "*_*": "votes for the answer to the question; null where the survey gives no counts",
    },
)
def volunteer_votes(context: SurveyContext) -> Result:
    """One row per galaxy: counts and fractions of every question of the Galaxy Zoo decision tree, a fraction being
    null where nobody was asked. Empty for a survey without volunteers.
    """
    import pyarrow.compute as pc

    source = context.survey.source
    table = open_reader(source, context.layout.raw).votes()
    if table is None:
        table = votes.empty(source.campaign)
    return Result(table, {"galaxies": table.num_rows, "votes": pc.sum(table["total_votes"]).as_py() or 0})


def history(before: pa.Table | None, catalogue: pa.Table, now: datetime) -> pa.Table:
    """`image_history` after a look at a batch's catalogue at time `now`, sorted by id and first sight.

    `before` is the history until then. Images are told apart by id and sha256; rows without sha256 (unreadable before
    their bytes could be hashed) are left out.
    """
    seen = {(row["galaxy_id"], row["sha256"]): row for row in (before.to_pylist() if before is not None else [])}
    present = catalogue.select(["galaxy_id", "file", "sha256"]).filter(catalogue["sha256"].is_valid()).to_pylist()
    there = {row["galaxy_id"] for row in present}
    for row in seen.values():
        if row["state"] == "present":
            row["state"] = "replaced" if row["galaxy_id"] in there else "removed"
    for row in present:
        key = row["galaxy_id"], row["sha256"]
        first = seen[key]["first_seen"] if key in seen else now
        seen[key] = row | {"first_seen": first, "last_seen": now, "state": "present"}
    return pa.Table.from_pylist(
        sorted(seen.values(), key=lambda row: (row["galaxy_id"], row["first_seen"], row["sha256"])), schema=HISTORY
    )


def all_gone(image_history: pa.Table) -> pa.Table:
    """The history of a batch whose delivery is gone: what was present was removed."""
    gone = ["removed" if state == "present" else state for state in image_history["state"].to_pylist()]
    at = image_history.column_names.index("state")
    return image_history.set_column(at, "state", pa.array(gone, pa.string()))


def absent(labelled: pa.Table, catalogue: pa.Table, several: Collection[str] = ()) -> pa.Table:
    """`absent_images` of a table of labels (`Reader.labelled`), the catalogue of all batches and the ids that several
    have (`ids.several_have`).
    """
    files = dict(zip(catalogue["galaxy_id"].to_pylist(), catalogue["file"].to_pylist(), strict=True))
    named, labels = labelled["galaxy_id"].to_pylist(), labelled["label"].to_pylist()
    matches = ids.NamedImages(files, several=several).match(named)
    reasons = dict(matches.unused)
    for of_one in filter(None, matches.rows):
        counts = next((row for row in of_one if labels[row]), of_one[0])
        for row in set(of_one) - {counts}:
            other = "" if labels[row] == labels[counts] else f": {labels[counts]}"
            reasons[row] = f"named more than once; the first row with a class counts{other}"
    rows = [{"galaxy_id": named[row], "label": labels[row], "reason": reasons[row]} for row in sorted(reasons)]
    return pa.Table.from_pylist(rows, schema=ABSENT)
