"""Runs as pods: what `--engine launched` hands to Kubernetes by the settings of packaging/helm-values.yaml.

No cluster is needed: a server on 127.0.0.1 takes the jobs as they go over HTTP, and runs none.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._cli.code_server import code_server_cli
from dagster._core.events import DagsterEvent, DagsterEventType

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.declaration import GPU_RUN_TAGS
from galaxy_assets.orchestration.engines import launched, launchers, stopping
from galaxy_assets.orchestration.engines.launched import Launched
from galaxy_assets.orchestration.engines.main_job import Wanted
from galaxy_assets_tests.cluster.helm import dagster_yaml
from galaxy_assets_tests.cluster.kubernetes_api import Jobs, api_server
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny
from galaxy_assets_tests.orchestration.engines.test_launched import until

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((ROOT / "packaging/helm-values.yaml").read_text())
VOTES = Wanted([dg.AssetKey(["tiny", "volunteer_votes"])], None, {"survey": "tiny"}, set())
FEATURES = Wanted([dg.AssetKey(["tiny", "pretrained_features"])], "first", {"survey": "tiny"} | GPU_RUN_TAGS, {"gpu"})


@pytest.fixture
def cluster(postgres, tmp_path, monkeypatch) -> Iterator[tuple[dg.DagsterInstance, Jobs]]:
    """A Dagster instance by the values, on a real PostgreSQL, and the jobs that Kubernetes was given."""
    pytest.importorskip("dagster_k8s", reason="the extra galaxy-assets[cluster] is not installed")
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", postgres.password)
    database = {"postgresqlHost": postgres.host, "postgresqlUsername": postgres.user}
    database |= {"postgresqlDatabase": postgres.database, "service": {"port": postgres.port}}
    settings = dagster_yaml(VALUES | {"postgresql": VALUES["postgresql"] | database}, "galaxies")
    with api_server(tmp_path / "kubeconfig") as jobs:
        outside = {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
        settings["run_launcher"]["config"] |= outside
        (tmp_path / "home").mkdir()
        (tmp_path / "home/dagster.yaml").write_text(yaml.safe_dump(settings))
        with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
            yield instance, jobs


@pytest.fixture
def runs(cluster, tmp_path) -> Launched:
    write_tiny(tmp_path / "data", UNTRAINED)
    cluster[0].add_dynamic_partitions("tiny_batch", ["first"])
    return Launched(build_defs(tmp_path / "data").resolve_implicit_global_asset_job_def(), cluster[0], None, 2)


def handed_over(runs: Launched, jobs: Jobs, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """Start a run; its id and job."""
    run_id = runs.start(wanted)
    return run_id, until(lambda: jobs.get(f"dagster-run-{run_id}"))


def test_a_job_is_valid_and_holds_what_the_values_say(runs, cluster, postgres):
    import kubernetes

    instance, jobs = cluster
    run_id, job = handed_over(runs, jobs, VOTES)
    posted = {name: value for name, value in job.items() if name != "status"}
    client = kubernetes.client.ApiClient()
    known = client.deserialize(SimpleNamespace(data=json.dumps(posted)), "V1Job")
    assert client.sanitize_for_serialization(known) == posted, "a field that Kubernetes does not know"
    assert jobs.namespace == "galaxies" and job["spec"]["ttlSecondsAfterFinished"] == 86400
    assert job["spec"]["backoffLimit"] == 0, "the engine starts what failed, not Kubernetes"

    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never" and pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["image"].startswith("galaxy-assets:") and container["image"].endswith("-cuda")
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "16Gi"}}
    assert {one["name"] for one in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]}
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "galaxy-assets-data"}} in pod["volumes"]
    assert container["args"][:3] == ["dagster", "api", "execute_run"] and run_id in container["args"][3]
    assert instance.get_run_by_id(run_id).tags["dagster/image"] == container["image"]


def test_secrets_are_named_and_never_written(runs, cluster, postgres):
    _, jobs = cluster
    _, job = handed_over(runs, jobs, VOTES)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one for one in container["env"]}
    reference = {"name": "galaxy-assets-postgres", "key": "postgresql-password"}
    assert environment.pop("DAGSTER_PG_PASSWORD")["valueFrom"]["secretKeyRef"] == reference
    assert {name: one["value"] for name, one in environment.items()} == {
        "DAGSTER_RUN_JOB_NAME": "__ASSET_JOB",
        "DAGSTER_HOME": "/opt/dagster/dagster_home",
        "GALAXY_ASSETS_DATA": "/data",
    }
    assert [one["secretRef"]["name"] for one in container["envFrom"]] == ["galaxy-assets-keys"]
    assert postgres.password[-6:] not in json.dumps(job)


def test_a_run_that_needs_a_gpu_asks_for_one_beside_its_memory(runs, cluster):
    _, jobs = cluster
    _, job = handed_over(runs, jobs, FEATURES)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}


def test_a_pod_that_failed_is_told_and_what_is_cancelled_is_deleted(runs, cluster, monkeypatch):
    instance, jobs = cluster
    failed, job = handed_over(runs, jobs, VOTES)
    job["status"] = {"failed": 1}
    ((ended, ran),) = runs.ended().items()
    assert ended == failed and not ran.made and "K8s job failed" in ran.error
    cancelled, _ = handed_over(runs, jobs, FEATURES)
    monkeypatch.setattr(stopping, "_TO_END", 1.0)  # no pod is there to answer
    runs.cancel()
    assert jobs.deleted == [f"dagster-run-{cancelled}"]
    assert instance.get_run_by_id(cancelled).status == dg.DagsterRunStatus.CANCELED


def test_a_launcher_that_does_not_answer_for_a_while_costs_no_run(runs, cluster, monkeypatch):
    instance, jobs = cluster
    monkeypatch.setattr(launched, "_ASK", 0.0)
    run_id, _ = handed_over(runs, jobs, VOTES)
    begun = DagsterEvent(DagsterEventType.PIPELINE_START.value, job_name="__ASSET_JOB")
    instance.report_dagster_event(begun, run_id=run_id)
    under_way = runs._under_way[run_id]
    jobs.down = True
    runs._find_lost(run_id, under_way)
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTED
    monkeypatch.setattr(launched, "SILENT", 0.0)
    runs._find_lost(run_id, under_way)
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


def test_an_api_that_is_away_when_runs_are_handed_over_costs_none(runs, cluster, monkeypatch):
    from dagster_k8s.client import DagsterKubernetesClient

    instance, jobs = cluster
    monkeypatch.setattr(DagsterKubernetesClient.create_namespaced_job_with_retries, "__defaults__", (0.0,))
    monkeypatch.setattr(launchers, "_AGAIN", 0.05)
    jobs.away = True
    started = [runs.start(VOTES), runs.start(FEATURES)]
    until(lambda: jobs.cut_off > 20)  # the client itself gives up after four times
    runs._look()
    jobs.away = False
    until(lambda: len(jobs) == 2 and all(runs._under_way[run_id].launch.done() for run_id in started))
    runs._look()
    assert {instance.get_run_by_id(run_id).status for run_id in started} == {dg.DagsterRunStatus.STARTING}
    assert jobs.keys() == {f"dagster-run-{run_id}" for run_id in started}


def test_an_api_that_stays_away_ends_the_main_job_in_words_and_ctrl_c_does_not_wait(runs, cluster, monkeypatch):
    from dagster_k8s.client import DagsterKubernetesClient

    instance, jobs = cluster
    monkeypatch.setattr(DagsterKubernetesClient.create_namespaced_job_with_retries, "__defaults__", (0.0,))
    monkeypatch.setattr(stopping, "_TO_END", 1.0)
    jobs.away = True
    waiting = runs.start(VOTES)
    until(lambda: jobs.cut_off > 3)
    begun = time.monotonic()
    runs.cancel()
    assert time.monotonic() - begun < 30 and instance.get_run_by_id(waiting).status == dg.DagsterRunStatus.CANCELED
    again = Launched(runs.job, instance, None, 2)
    monkeypatch.setattr(launchers, "SILENT", 0.0)
    again.start(VOTES)
    with pytest.raises(launchers.NoLauncher, match="did not answer.*run the same again"):
        again.ended()
    again.cancel()


def test_a_job_that_is_gone_before_its_run_began_is_lost_and_one_that_waits_is_not(runs, cluster, monkeypatch):
    instance, jobs = cluster
    monkeypatch.setattr(launched, "_ASK", 0.0)
    run_id, job = handed_over(runs, jobs, VOTES)
    under_way = runs._under_way[run_id]
    until(under_way.launch.done)
    job["status"] = {}  # no pod has a place yet
    monkeypatch.setattr(launched, "SILENT", -1.0)
    runs._look()
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTING
    del jobs[f"dagster-run-{run_id}"]
    monkeypatch.setattr(launched, "SILENT", 300.0)
    runs._look()
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTING, "it is not sure"
    monkeypatch.setattr(launched, "SILENT", 0.0)
    ((_, ran),) = runs.ended().items()
    assert not ran.made and "could not be found" in ran.error


def test_the_values_say_what_dagster_cluster_yaml_says():
    here = yaml.safe_load((ROOT / "dagster.cluster.yaml").read_text())
    there = dagster_yaml(VALUES, "galaxies")
    assert there["run_monitoring"].pop("poll_interval_seconds") == 60
    for part in ("concurrency", "run_coordinator", "run_monitoring", "python_logs", "telemetry"):
        assert there[part] == here[part]
    scheme = here["storage"]["postgres"]["postgres_db"]["scheme"]
    assert there["storage"]["postgres"]["postgres_db"]["scheme"] == scheme


def test_the_code_server_is_one_that_the_pages_can_reload():
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    assert "dagsterApiGrpcArgs" not in deployment, "a server that cannot be reloaded, and that the chart prefers"
    # as the chart starts it
    given = ["-h", "0.0.0.0", "-p", str(deployment["port"]), *deployment["codeServerArgs"]]
    known = code_server_cli.commands["start"].make_context("start", given).params
    assert known["location_name"] == "galaxy_assets" and "galaxy_assets.definitions" in known["module_name"]


def test_the_ray_cluster_of_kuberay_is_valid_and_hands_no_secret_to_ray():
    kubernetes = pytest.importorskip("kubernetes", reason="the extra galaxy-assets[cluster] is not installed")
    cluster = yaml.safe_load((ROOT / "packaging/ray-cluster.yaml").read_text())
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    client = kubernetes.client.ApiClient()
    for group in groups:
        given = SimpleNamespace(data=json.dumps(group["template"]))
        known = client.deserialize(given, "V1PodTemplateSpec")
        assert client.sanitize_for_serialization(known) == group["template"], "a field that Kubernetes does not know"
        (container,) = group["template"]["spec"]["containers"]
        secrets = [one["name"] for one in container["env"] if "valueFrom" in one]
        assert secrets == ["DAGSTER_PG_PASSWORD"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    worker = groups[1]["template"]["spec"]["containers"][0]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_values_of_ray_give_its_launcher_what_packaging_launchers_does():
    launchers = pytest.importorskip("dagster_ray", reason="the extra galaxy-assets[cluster] is not installed")
    values = yaml.safe_load((ROOT / "packaging/helm-values-ray.yaml").read_text())
    custom = values["runLauncher"]["config"]["customRunLauncher"]
    here = yaml.safe_load((ROOT / "packaging/launchers/ray.yaml").read_text())["run_launcher"]
    assert (custom["module"], custom["class"]) == (here["module"], here["class"])
    ray, ours = custom["config"]["ray"], here["config"]["ray"]
    assert ray["num_cpus"] == ours["num_cpus"]
    launcher = launchers.RayRunLauncher.from_config_value(None, {"ray": ray})
    # the head's service is named after the cluster
    cluster = yaml.safe_load((ROOT / "packaging/ray-cluster.yaml").read_text())["metadata"]["name"]
    assert launcher.address == f"http://{cluster}-head-svc:8265"
