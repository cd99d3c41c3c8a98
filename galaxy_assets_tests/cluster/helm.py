"""What Dagster's Helm chart writes into dagster.yaml, as far as packaging/helm-values.yaml sets it.

The chart is not to be had by pip. This follows its templates (helm/dagster/templates/helpers/instance in Dagster's
repository) for the parts that decide what a run's pod looks like and where runs are kept.
"""

from typing import Any


def dagster_yaml(values: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The chart's ConfigMap `<release>-instance`, for release `dagster`."""
    postgres, daemon = values["postgresql"], values["dagsterDaemon"]
    storage = {
        "username": postgres["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": postgres["postgresqlHost"],
        "db_name": postgres["postgresqlDatabase"],
        "port": postgres["service"]["port"],
        "scheme": postgres["postgresqlScheme"],
    }
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    assert daemon["runCoordinator"]["type"] == "QueuedRunCoordinator"
    return {
        "storage": {"postgres": {"postgres_db": storage}},
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": launcher(values, values["runLauncher"]["config"]["k8sRunLauncher"], namespace),
        },
        "run_coordinator": {"module": "dagster", "class": "QueuedRunCoordinator"},
        "concurrency": {part: _snake(values["concurrency"][part]) for part in ("pools", "runs")},
        "run_monitoring": _snake(daemon["runMonitoring"]),
        "python_logs": _snake(values["pythonLogs"]),
        "telemetry": values["telemetry"],
    }


def launcher(values: dict[str, Any], settings: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Of the chart's `_run-launcher.tpl`."""
    image = settings["image"]
    return {
        "load_incluster_config": settings["loadInclusterConfig"],
        "job_namespace": namespace,
        "image_pull_policy": settings["imagePullPolicy"],
        "service_account_name": "dagster",
        "job_image": f"{image['repository']}:{image['tag']}",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "env_config_maps": [one["name"] for one in settings["envConfigMaps"]],
        "env_secrets": [one["name"] for one in settings["envSecrets"]],
        "env_vars": settings["envVars"],
        "volume_mounts": settings["volumeMounts"],
        "volumes": settings["volumes"],
        "fail_pod_on_run_failure": settings["failPodOnRunFailure"],
        "run_k8s_config": _snake(settings["runK8sConfig"]),
    }


def _snake(settings: dict[str, Any]) -> dict[str, Any]:
    """The names of Dagster for those of the chart, on the first level."""
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in settings.items()}
