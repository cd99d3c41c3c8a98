"""A survey as a component of somebody's own Dagster project.

    # defs/mysurvey/defs.yaml
    type: galaxy_assets.SurveyComponent
    attributes:
      key_prefix: astronomy
      name: mysurvey
      extends: sdss_gz1
      source: {path: /data/mysurvey}

gives the assets, checks, jobs and sensors of the survey under the key prefix.

Belongs here: what such a file may say, and that a name is used once. Does not belong here: what a survey has
(`survey`).
"""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from galaxy_assets.orchestration.automation import sensors
from galaxy_assets.orchestration.resources import KEYS, Keys, resources
from galaxy_assets.orchestration.survey import survey_definitions
from galaxy_assets.settings.files import SurveyError, survey_files, survey_from
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.starts import missing_start, unusable_network
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.store import data_folder

_FOUND: dict[tuple[Path, str], str] = {}
"""(project, survey) -> the file of the component that describes it, in this process."""
_FOLDERS: dict[Path, Path] = {}
"""Project -> the data folder of its component that came first, whose resources have the keys of an only one."""


class SurveyComponent(dg.Component, dg.Resolvable, dg.Model):
    """A survey: from a folder of galaxy images to clusters, an anomaly ranking and figures, without labels.

    The attributes are those of a survey file, `docs/surveys.md` describes each; and two of the component's own.
    """

    key_prefix: str | list[str] = Field(default=[], description="what the asset keys begin with, before the name")
    data: str | None = Field(
        default=None,
        description="the data folder, relative to the project, or a bucket; as $GALAXY_ASSETS_DATA says if absent",
    )
    extends: str | None = Field(default=None, description="the shipped survey whose settings these replace")
    name: str = Field(description="lower-case letters, digits and _; the schema of its tables")
    title: str | None = Field(default=None, description="as it is shown")
    description: str | None = Field(default=None, description="what it holds, in a sentence")
    reference: str | None = Field(default=None, description="where the data comes from and how to cite it")
    owner: str | None = Field(default=None, description="who to ask, an e-mail address or `team:NAME`")
    sky_links: list[str] | None = Field(
        default=None, description="sky viewers and archives that a galaxy's page links to"
    )
    source: dict[str, Any] | None = Field(default=None, description="where its deliveries lie, and the reader")
    cutout: str | dict[str, Any] | None = Field(default=None, description="how galaxies are cut out, or `auto`")
    artefacts: dict[str, Any] | None = Field(default=None, description="what is proposed for removal")
    start_weights: list[str] | None = Field(default=None, description="random, imagenet, rgz, or another survey")
    networks: dict[str, Any] | None = Field(default=None, description="networks whose weights are files")
    main_start_weights: str | None = Field(default=None, description="the one the ranking and the searches read")
    rgz_checkpoint: str | None = Field(default=None, description="path of the Radio Galaxy Zoo checkpoint")
    recipe: str | dict[str, Any] | None = Field(default=None, description="how networks are trained")
    evaluation: dict[str, Any] | None = Field(default=None, description="the classes that judge a representation")
    variance: float | None = Field(default=None, description="share of the variance the PCA keeps")
    mixture: dict[str, Any] | None = Field(default=None, description="how clusters are fitted")
    votes: dict[str, Any] | None = Field(default=None, description="which votes describe a cluster")
    labelling: dict[str, Any] | None = Field(default=None, description="how clusters are labelled")
    umap: dict[str, Any] | None = Field(default=None, description="how the map is laid out")
    anomaly: dict[str, Any] | None = Field(default=None, description="what is searched for")
    similarity: dict[str, Any] | None = Field(default=None, description="what the similarity search is asked")
    drift: dict[str, Any] | None = Field(default=None, description="when retraining is advised")
    auto: list[str] | None = Field(default=None, description="settings that trials choose")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the survey, with the resources they use.

        Parameters
        ----------
        context : dagster.ComponentLoadContext

        Returns
        -------
        dagster.Definitions

        Raises
        ------
        SurveyError
            Where the attributes are no survey, or its name is another's.
        """
        path = Path(context.path)
        root = self._data_folder(path, context.project_root)
        keys = KEYS if _FOLDERS.setdefault(context.project_root, root) == root else Keys.of(root)
        survey, known = self._survey(path, context.project_root, root)
        prefix = [self.key_prefix] if isinstance(self.key_prefix, str) else self.key_prefix
        published = sensors.read_model_sensor(root, f"{survey.name}_read_model")
        return dg.Definitions.merge(
            survey_definitions(survey, known, root, prefix, keys),
            dg.Definitions(sensors=[published], resources=resources(root, keys)),
        )

    def _data_folder(self, path: Path, project: Path) -> Path:
        """The data folder, by the rules of $GALAXY_ASSETS_DATA but relative to the project."""
        told = self.data
        if told is not None and "://" not in told:
            told = str(project / Path(told).expanduser())
        try:
            return data_folder(told)
        except PrintableError as error:
            raise SurveyError(f"{path}: {error}") from error

    def _survey(self, path: Path, project: Path, root: Path) -> tuple[Survey, dict[str, Survey]]:
        """The survey of the attributes, and all surveys by name that its start weights may name."""
        given = self.model_dump(exclude={"key_prefix", "data"}, exclude_none=True)
        survey, files = survey_from(given, path), survey_files(root)
        if files.is_described(survey.name):
            raise SurveyError(
                f"{path}: a survey {survey.name!r} is described by {files.files[survey.name]} already; choose another "
                "name, or delete that file"
            )
        other = _FOUND.setdefault((project, survey.name), str(path))
        if other != str(path):
            raise SurveyError(f"{path}: a survey {survey.name!r} is described by {other} already; choose another name")
        known = files.known | {survey.name: survey}
        if why := unusable_network(survey, root) or missing_start(survey, known, files.files):
            raise SurveyError(f"{path}: {why}")
        return survey, known
