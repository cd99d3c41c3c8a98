"""The steps of packaging/Dockerfile's stage `build`, taken on this machine where there is no docker.

    python -m galaxy_assets_tests.cluster.dockerfile cuda FOLDER

It takes ten minutes and 8 GB below FOLDER for `cuda`. The administrator takes the steps as nobody: none needs more.
What differs from a real build: the base image is this machine, and /opt/galaxy-assets and /build are folders in FOLDER.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACES = {"/opt/galaxy-assets": "app", "/build": "build"}


def steps(text: str, stage: str) -> Iterator[tuple[str, str]]:
    """Instruction and words of each step of a stage."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    inside = False
    for line in filter(None, map(str.strip, lines)):
        instruction, _, words = line.partition(" ")
        if instruction == "FROM":
            inside = words.endswith(f" AS {stage}")
        elif inside:
            yield instruction, words


def sent(context: Path) -> set[str]:
    """What of the context .dockerignore lets through, by its first names."""
    lines = (context / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    return {line[1:] for line in lines if line.startswith("!")}


def build(context: Path, variant: str, folder: Path, user: str | None = None) -> Path:
    """Take the steps, as another user if one is given, and return the environment that they make.

    Raises CalledProcessError for a step that fails.
    """
    given: dict[str, str] = {}
    folder.mkdir(parents=True)
    here = folder
    rights: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    for instruction, words in steps((context / "packaging/Dockerfile").read_text(), "build"):
        if instruction == "ARG":
            given[words.partition("=")[0]] = variant
        elif instruction == "ENV":
            name, _, value = words.partition("=")
            given[name] = str(folder / PLACES[value])
        elif instruction == "WORKDIR":
            here = folder / PLACES[words]
            here.mkdir()
        elif instruction == "COPY":
            _copy(context, words.split(), here)
        elif instruction == "RUN":
            for path in (folder, *here.rglob("*"), here) if user else ():
                shutil.chown(path, user, rights["group"])
            environment = os.environ | {"HOME": str(folder)} | given
            subprocess.run(["sh", "-c", words], cwd=here, env=environment, check=True, **rights)
        else:
            raise ValueError(f"stage build has {instruction}, which is not taken here")
    return folder / "app"


def _copy(context: Path, words: list[str], here: Path) -> None:
    *sources, target = words
    for source in sources:
        assert source.split("/")[0] in sent(context), f"{source} is not sent to the build: .dockerignore"
        to = here / target if target != "./" else here / source
        if (context / source).is_dir():
            shutil.copytree(context / source, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(context / source, to)


if __name__ == "__main__":
    print(build(ROOT, sys.argv[1], Path(sys.argv[2]), "nobody" if os.geteuid() == 0 else None))
