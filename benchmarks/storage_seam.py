"""What the seam in front of the storage costs on a local disk: a small survey run by two commits, by turns.

    .venv/bin/python benchmarks/storage_seam.py --before COMMIT [--turns 5]

Each turn runs the small survey from nothing, once by the tree of COMMIT and once by this one, in processes and data
folders of their own; which of them is first changes from turn to turn. It prints the seconds and the ratio of their
medians, and ends in 1 where that is more than 1.05. Run it on a machine that does nothing else: a turn takes some two
minutes on two cores.

Belongs here: the two runs, through the command line alone. Does not belong here: anything that imports the package.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

MOST = 1.05
SURVEY = {
    "extends": "demo_radio",
    "source": {"n_images": 120},
    "recipe": {
        "preset": "small",
        "backbone": "tf_efficientnet_lite0",
        "image_size": 64,
        "epochs": 1,
        "batch_size": 16,
        "train_random_from": 0,
    },
    "start_weights": ["random", "imagenet"],
    "mixture": {"components": 5, "n_init": 2},
    "anomaly": {"seeds": 6, "per_round": 4, "budget": 18},
}
HERE = Path(__file__).resolve().parents[1]


def seconds(tree: Path, root: Path) -> float:
    """Time of the small survey from nothing, by the package of a tree."""
    (root / "surveys").mkdir(parents=True)
    (root / "surveys" / "demo_radio.yaml").write_text(yaml.safe_dump(SURVEY, sort_keys=False))
    environment = os.environ | {
        "GALAXY_ASSETS_DATA": str(root),
        "DAGSTER_HOME": str(root / ".dagster"),
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
    }
    start = time.perf_counter()
    command = [sys.executable, "-P", "-m", "galaxy_assets.cli", "run", "demo_radio"]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run by {tree} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def main() -> None:
    """Run both by turns and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, help="commit without the seam")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        git = ["git", "-C", str(HERE)]
        subprocess.run([*git, "worktree", "add", "-q", "--detach", str(work / "before"), given.before], check=True)
        trees, found = {"before": work / "before", "now": HERE}, {"before": [], "now": []}
        try:
            for turn in range(given.turns):
                for name in sorted(trees, reverse=bool(turn % 2)):
                    found[name].append(seconds(trees[name], work / f"{name}{turn}"))
                    print(f"turn {turn + 1} of {given.turns}, {name}: {found[name][-1]:.1f} s", flush=True)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(work / "before")], check=True)
    ratio = statistics.median(found["now"]) / statistics.median(found["before"])
    print(f"ratio of medians, now to before: {ratio:.3f} (at most {MOST})")
    sys.exit(ratio > MOST)


if __name__ == "__main__":
    main()
