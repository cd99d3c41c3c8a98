"""Sensors, ticked on an ephemeral instance, and the stages of the main job."""

import dagster as dg
import pytest

from galaxy_assets import automation
from galaxy_assets.definitions import build_defs
from galaxy_assets.lake import connect
from galaxy_assets.lake.layout import Layout
from galaxy_assets.lake.tables import write_table
from galaxy_assets.surveys.model import load_surveys
from galaxy_assets_tests.conftest import write_tiny


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    write_tiny(tmp_path)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    return tmp_path, load_surveys(tmp_path)["tiny"], dg.DagsterInstance.ephemeral()


def test_a_new_delivery_is_registered_and_cut_once(tiny):
    root, survey, instance = tiny
    sensor = automation.delivery_sensor(survey)
    first = sensor(dg.build_sensor_context(instance=instance))
    assert [request.partition_key for request in first.run_requests] == ["first", "second"]
    (added,) = first.dynamic_partitions_requests
    instance.add_dynamic_partitions(added.partitions_def_name, added.partition_keys)
    second = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(second, dg.SkipReason) and "2 deliveries, all known" in second.skip_message
    images = root / "raw" / "tiny" / "images"
    (images / "third").mkdir()
    (images / "third" / "a.png").write_bytes((images / "first" / "first_00.png").read_bytes())
    third = sensor(dg.build_sensor_context(instance=instance))
    assert [request.partition_key for request in third.run_requests] == ["third"]


def test_a_survey_without_a_delivery_is_skipped_with_the_reason(tiny):
    root, survey, instance = tiny
    (root / "raw" / "tiny").rename(root / "raw" / "elsewhere")
    tick = automation.delivery_sensor(survey)(dg.build_sensor_context(instance=instance))
    assert isinstance(tick, dg.SkipReason) and str(root / "raw" / "tiny") in tick.skip_message


def test_a_successful_run_publishes_the_read_model(tiny):
    import pyarrow as pa

    root, _, instance = tiny
    write_table(pa.table({"a": [1]}), Layout(root).table("tiny", "observed"))

    @dg.op
    def nothing(): ...

    @dg.job
    def any_job():
        nothing()

    run = any_job.execute_in_process(instance=instance)
    context = dg.build_run_status_sensor_context(
        sensor_name="read_model",
        dagster_instance=instance,
        dagster_run=run.dagster_run,
        dagster_event=run.get_run_success_event(),
    )
    automation.read_model_sensor(context)
    with connect(root) as lake:
        assert lake.sql("select a from tiny.observed").fetchall() == [(1,)]


def test_stages_run_each_asset_once_after_all_it_reads(tiny):
    root, _, _ = tiny
    defs = build_defs(root)
    graph = defs.resolve_asset_graph()
    stages = automation.stages(defs, "tiny")
    order = [key for stage in stages for key in stage.assets]
    assert sorted(order) == sorted(k for k in graph.get_all_asset_keys() if k.path[0] == "tiny")
    for i, key in enumerate(order):
        assert {p for p in graph.get(key).parent_keys if p.path[0] == "tiny"} <= set(order[:i])
    assert all(len({graph.get(key).partitions_def for key in stage.assets}) == 1 for stage in stages)
