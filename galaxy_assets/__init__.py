"""galaxy-assets: from a folder of galaxy images to discoveries without labels, as Dagster assets.

`galaxy_assets.SurveyComponent` is a survey as a component of a Dagster project.
"""

from typing import Any

_COMPONENT = "SurveyComponent"


def __getattr__(name: str) -> Any:
    # loaded when asked for: a notebook that reads the lake needs no Dagster
    if name == _COMPONENT:
        from galaxy_assets.orchestration.component import SurveyComponent

        return SurveyComponent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), _COMPONENT]
