"""The steps of packaging/Dockerfile's stage `build`, taken on this machine where there is no docker.

    python -m galaxy_assets_tests.cluster.dockerfile cuda FOLDER

It takes twenty minutes and 8 GB below FOLDER for `cuda`. The administrator takes the steps as
nobody: no step needs more.
What differs from a real build: the base image is this machine, and /opt/galaxy-assets and /build are folders in FOLDER.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

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


def build(context: Path, variant: str, folder: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Take the steps, and return the environment that they make; raises CalledProcessError for one that fails."""
    given: dict[str, str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    here = folder
    nobody = pwd.getpwnam("nobody")
    rights = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if rights:
        shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
    for instruction, words in steps((context / "packaging/Dockerfile").read_text(), "build"):
        if instruction == "ARG":
            given[words.partition("=")[0]] = variant
        elif instruction == "ENV":
            name, _, value = words.partition("=")
            given[name] = str(folder / PLACES[value])
        elif instruction == "WORKDIR":
            here = folder / PLACES[words]
            here.mkdir()
            shutil.chown(here, *((nobody.pw_uid, nobody.pw_gid) if rights else (os.geteuid(), os.getegid())))
        elif instruction == "COPY":
            _copy(context, words.split(), here)
        elif instruction == "RUN":
            subprocess.run(
                ["sh", "-c", words],
                cwd=here,
                env=os.environ | {"HOME": str(folder)} | (environment or {}) | given,
                check=True,
                **rights,
            )
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
        for path in (to, *to.rglob("*")):
            path.chmod(path.stat().st_mode | (0o777 if path.is_dir() else 0o666))


if __name__ == "__main__":
    print(build(ROOT, sys.argv[1], Path(sys.argv[2])))
