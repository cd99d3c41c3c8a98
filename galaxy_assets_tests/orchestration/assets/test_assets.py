"""Each asset by itself with materialize_to_memory: its inputs are the tables of the small world, its output is compared
with what the lake holds and with the columns that others rely on."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import ASSETS, keys_of
from galaxy_assets.orchestration.resources import LAKE, Lake
from galaxy_assets.science.results import VERDICTS
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Version
from galaxy_assets.storage.tables import column_to_vectors, read_table

BATCH, INIT = "first", "imagenet"
COLUMNS = {
    "delivered_images": "galaxy_id batch file sha256 width height ra dec label problem reason",
    "taken_ids": "batch galaxy_id kept_by sha256",
    "catalogue": "galaxy_id batch file sha256 width height ra dec label problem reason",
    "image_history": "galaxy_id file sha256 state first_seen last_seen",
    "absent_images": "galaxy_id label reason",
    "volunteer_votes": "galaxy_id total_votes",
    "cutouts": "galaxy_id batch outcome box_x0 box_y0 box_x1 box_y1 noise_std threshold contour_area "
    "nodata_fraction levels",
    "pretrained_features": "galaxy_id batch vector",
    "artefact_evidence": "galaxy_id batch suspect reason",
    "artefact_umap_model": "galaxy_id batch x y features_key vector suspect reason",
    "artefact_map": "galaxy_id batch x y suspect reason",
    "artefact_regions": "region x0 y0 x1 y1 n n_suspect purity reasons status",
    "clean_galaxies": "galaxy_id batch kept rule",
    "byol_checkpoints": "init epoch path sha256 loss pcs_95 alignment uniformity stability chosen reason",
    "embeddings": "galaxy_id batch init vector",
    "pca_model": "init component explained_variance explained_variance_ratio vector",
    "pca_features": "galaxy_id batch init vector",
    "evaluation_subset": "galaxy_id evaluation_class",
    "epoch_accuracy": "init epoch features split accuracy",
    "umap_model": "galaxy_id batch init x y features_key vector",
    "umap": "galaxy_id batch init x y",
    "cluster_model": "init cluster weight mean precision_cholesky converged",
    "cluster_labels": "galaxy_id batch init cluster probability",
    "batch_drift": "name value fitted limit exceeded words",
    "cluster_gallery": "init cluster position galaxy_id",
    "vote_fractions": "init cluster question answer n mean quantiles",
    "cluster_worksheet": "init line cluster description label artefact exemplars n_held",
    "cluster_summary": "init cluster n n_labelled majority_class purity suspect_fraction artefact label description "
    "evidence described_by accuracy_overall",
    "class_membership": "init evaluation_class cluster n share labelled_as",
    "training_candidates": "init cluster rank galaxy_id batch probability description label",
    "oracle_events": "event time who galaxy_id score round model_seen",
    "label_events": "event time who galaxy_id score round model_seen",
    "anomaly_model": "role galaxy_id score amplitude length_scale noise kernel vector",
    "anomaly_scores": "galaxy_id batch score score_std model",
    "anomaly_ranking": "galaxy_id batch score score_std rank queried_round scored_by",
    "baseline_rankings": "galaxy_id isolation_forest local_outlier_factor published published_std published_round",
    "search_spread": "trial number galaxies anomalies scored met unshown isolation_forest",
    "anomaly_recall": "rank found random perfect isolation_forest local_outlier_factor published",
    "similar_galaxies": "query_id neighbour_id distance rank",
    "encoder_comparison": "init network features epoch effective_rank pcs_95 alignment uniformity stability reason",
    "results": "check_id description expected observed tolerance verdict note",
    "figure_01": "galaxy_id x y kept rule example",
    "figure_02": "evaluation_class position galaxy_id",
    "figure_03": "init epoch features mean std n",
    "figure_04": "galaxy_id x y cluster probability picked example",
    "figure_05": "galaxy_id x y cluster probability picked example",
    "figure_06": "galaxy_id x y cluster probability picked example",
    "figure_07": "panel cluster fraction",
    "figure_08": "rank found perfect random published isolation_forest local_outlier_factor",
    "figure_09": "galaxy_id x y is_true score",
    "figure_10": "round position galaxy_id score acquisition",
    "figure_11": "query_id position galaxy_id rank distance",
    "figure_12": "query_id position galaxy_id rank distance",
    "figure_13": "position galaxy_id label",
    "figure_14": "init epoch features mean std n",
    "figure_15": "init galaxy_id x y evaluation_class cluster_accuracy",
    "table_1": "setting section paper survey agrees",
    "table_2": "cluster description n n_labelled majority_class purity suspect_fraction artefact evidence described_by",
}

IN_TURN = {(name, "embeddings") for name in ("pca_model", "umap_model", "cluster_model")} | {
    ("taken_ids", "delivered_images"),
    ("artefact_umap_model", "pretrained_features"),
    ("anomaly_ranking", "anomaly_scores"),
    ("anomaly_ranking", "pca_features"),
    ("oracle_events", "cutouts"),
    ("similar_galaxies", "pca_features"),
}
EVERY_START = {"results", "encoder_comparison", "figure_03", "figure_14", "figure_15"}


def stored(world, name: str, batch: str | None, init: str | None) -> pa.Table:
    """The table of the world's lake, cut to one batch and one start where those are given."""
    layout = Layout(world.root)
    path = layout.table("tiny", name)
    files = [path] if path.exists() else sorted(path.with_suffix("").rglob("*.parquet"))
    tables = [read_table(f) for f in files]
    for column, value in (("batch", batch), ("init", init)):
        if value is not None and column in tables[0].column_names:
            tables = [t.filter(pc.equal(t[column], value)) for t in tables]
    # starts keep different numbers of components, so only the tables that are left have one width
    return pa.concat_tables([t for t in tables if t.num_rows] or tables[:1], promote_options="permissive")


def materialise(world, name: str) -> tuple[pa.Table, dg.ExecuteInProcessResult]:
    """Run one asset in memory on the world's tables.

    The fan-in of partitions is the I/O manager's work and has its own tests: here an input is handed over whole, or as
    the world's files where the asset reads them in turn.
    """
    surveys = survey_files(world.root).known
    asset = ASSETS[name].of(surveys["tiny"], surveys)
    match asset.partitions_def:
        case dg.MultiPartitionsDefinition():
            key, batch = dg.MultiPartitionKey({"batch": BATCH, "init": INIT}), BATCH
        case dg.DynamicPartitionsDefinition():
            key, batch = BATCH, BATCH
        case dg.StaticPartitionsDefinition():
            key, batch = INIT, None
        case _:
            key, batch = None, None

    def source(parent: str) -> dg.AssetsDefinition:
        one_batch = None if parent.endswith("_model") else batch
        if (name, parent) in IN_TURN:
            folder = Layout(world.root).lake / "tiny" / parent
            per_start = tuple(sorted(folder.rglob(f"{INIT}.parquet")))
            paths = per_start or tuple(sorted(folder.glob("*.parquet")))
            table = TablesInTurn(paths, {path.stem: Version("", "") for path in paths})
        else:
            table = stored(world, parent, one_batch, None if name in EVERY_START else INIT)

        @dg.asset(key=dg.AssetKey(["tiny", parent]), partitions_def=asset.partitions_def)
        def whole():
            return table

        return whole

    instance = dg.DagsterInstance.ephemeral()  # not the world's: its record of the main job is read by other tests
    instance.add_dynamic_partitions("tiny_batch", ["first", "second"])
    parents = set(ASSETS[name].reads)
    result = dg.materialize_to_memory(
        [asset, *map(source, sorted(parents))],
        partition_key=key,
        resources={LAKE: Lake(root=str(world.root))},
        instance=instance,
    )
    return result.asset_value(asset.key), result


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_asset(world, name):
    table, result = materialise(world, name)
    assert result.success
    assert set(COLUMNS[name].split()) <= set(table.column_names)
    if Layout(world.root).table("tiny", name).exists():
        kept = stored(world, name, None, None)
        first = table.column_names[0]  # starts come in another order than their files
        ours, theirs = (t.drop_columns(volatile(t)).sort_by(first) for t in (table, kept))
        assert ours.equals(theirs)


def volatile(table: pa.Table) -> list[str]:
    """Columns that hold when something was done, not what was found."""
    return [name for name in ("time", "recorded", "seconds", "images_per_second") if name in table.column_names]


def test_every_asset_is_tested(world):
    assert (
        {key.path[-1] for key in keys_of(world.defs.resolve_asset_graph(), "tiny")}
        == set(COLUMNS)
        == {*ASSETS} - {"recipe_trials"}
    )


def test_embeddings_are_the_chosen_checkpoints_features(world):
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.storage.checkpoints import load_encoder
    from galaxy_assets.storage.pixels import PixelStore

    table, _ = materialise(world, "embeddings")
    ledger = read_table(Layout(world.root).table("tiny", "byol_checkpoints", INIT)).to_pylist()
    (chosen,) = (row for row in ledger if row["chosen"])
    assert [row["epoch"] for row in ledger] == [0, 1, 2]
    assert [row["reason"] for row in ledger if row["reason"]] == [chosen["reason"]]
    encoder = load_encoder(world.root / chosen["path"])
    cutouts = read_table(Layout(world.root).table("tiny", "cutouts", BATCH))["galaxy_id"].to_pylist()
    pixels = PixelStore(Layout(world.root).pixels("tiny")).read(BATCH, 32)
    rows = [cutouts.index(galaxy) for galaxy in table["galaxy_id"].to_pylist()]
    recipe = world.survey.recipe
    expected = embed(encoder, pixels, indices=rows, device=choose_devices()[0], orientations=recipe.orientations)
    assert abs(column_to_vectors(table["vector"]) - expected).max() < 1e-5


@pytest.mark.parametrize("name", ["pretrained_features", "embeddings"])
def test_features_of_every_galaxy_tell_the_time_left(world, name, monkeypatch):
    from galaxy_assets.science.encoders import embedding
    from galaxy_assets.settings.progress import looking

    told = []
    monkeypatch.setattr(embedding, "_ELSEWHERE", 8)  # images at once
    monkeypatch.setattr(embedding, "_ON_A_GPU", 8)
    with looking(told.append):
        materialise(world, name)
    assert told[0].what == "embedding" and told[0].left is not None


def test_results_show_what_differs_first(world):
    survey = survey_files(world.root).named("tiny").model_copy(update={"name": "mirabest"})
    tables = {name: stored(world, name, None, None) for name in ASSETS["results"].reads}
    made = ASSETS["results"].function(SurveyContext(survey, {}, Layout(world.root), "", "", None), **tables)
    lines = made.metadata["table"].value.splitlines()[2:]
    verdicts = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert tuple(dict.fromkeys(verdicts)) == VERDICTS
    never_trained = ["M4:gz_decals", "M4:rgz", "M6:demo_optical"]
    assert [line.split(" | ")[1] for line in lines if "not observed" in line] == never_trained
    assert verdicts.count("differs") == made.metadata["differs"]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "differs"),
        ({"main_start_weights": "random"}, "not comparable"),
        ({"variance": 0.5}, "differs"),
        ({"recipe": {"preset": "paper", "tau": 0.9}}, "not comparable"),
        ({"cutout": {"sigma": 3.0}}, "not comparable"),
    ],
)
def test_a_start_from_a_survey_that_is_trained_otherwise_is_not_the_papers(tmp_path, changes, verdict):
    known = survey_files(tmp_path).known
    theirs = Survey.model_validate(known["gz_decals"].model_dump() | changes)
    columns = {"init": "gz_decals", "chosen": True, "epoch": 1, "seconds": 1.0, "images_per_second": 1.0, "reason": "r"}
    made = pa.Table.from_pylist([columns])
    there = SurveyContext(known["mirabest"], {"gz_decals": theirs}, Layout(tmp_path), "", "", None)
    tables = {"byol_checkpoints": made}
    table = ASSETS["results"].function(there, **tables).table
    verdicts = dict(zip(table["check_id"].to_pylist(), table["verdict"].to_pylist(), strict=True))
    assert verdicts["M3:starts"] == verdict
