"""Training and embedding beside busy processes of somebody else, in one run.

    python benchmarks/busy_machine.py [--seconds 20]

Each speed is of a process of its own: with the threads that it chooses, and with as many as there are cores, as before
it chose; alone, beside one process that is always busy, and beside six. Alone it is measured five times in turn, of
which the median counts: the two hardly differ there. A ratio is how many times slower than alone.

Belongs here: the busy processes and the ratios. Does not belong here: speed beside other tools (`training`).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

BUSY = (0, 1, 6)
MOST = {0: 1.03, 1: 1.8, 6: 6.0}
"""How many times slower it may be; alone, than with a thread on every core."""
SIDE, BATCH = 64, 32
TURNS = 5


def measure(seconds: float) -> None:
    """Print images per second of training and of embedding in this process, as the package does them."""
    import numpy as np

    from galaxy_assets.science import byol
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.encoders.weights import build_encoder
    from galaxy_assets.settings.recipe import Recipe

    (device,) = choose_devices()
    recipe = Recipe(preset="small", backbone="tf_efficientnet_lite0", image_size=SIDE, batch_size=BATCH, epochs=1000)
    encoder = build_encoder(recipe.backbone, "random", seed=0, weights=Path())
    pixels = np.random.default_rng(0).integers(0, 256, (4 * BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    epochs: list[float] = []

    class Enough(Exception):
        pass

    class Nowhere:
        def read(self) -> None:
            return None

        def write(self, saved: dict) -> None:
            pass

    def on_epoch(result: object, encoder: object) -> None:
        epochs.append(time.monotonic())
        # the first one warms up
        if len(epochs) > 1 and epochs[-1] - epochs[0] > seconds:
            raise Enough

    try:
        byol.train(
            encoder,
            pixels,
            np.arange(len(pixels)),
            recipe,
            freeze=False,
            devices=[device],
            state=Nowhere(),
            on_epoch=on_epoch,
        )
    except Enough:
        pass
    training = (len(epochs) - 1) * len(pixels) / (epochs[-1] - epochs[0])
    pixels = np.concatenate([pixels] * 4)
    embed(encoder, pixels, device=device)
    begun, done = time.monotonic(), 0
    while time.monotonic() - begun < seconds / 2:
        embed(encoder, pixels, device=device)
        done += len(pixels)
    print(json.dumps({"training": training, "embedding": done / (time.monotonic() - begun)}))


def speeds(busy: int, chosen: bool, seconds: float) -> dict[str, float]:
    """Images per second beside so many busy processes."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if not chosen:
        env["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        command = [sys.executable, __file__, "--seconds", str(seconds), "--measure"]
        return json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
    finally:
        for process in others:
            process.kill()
            process.wait()


def main() -> None:
    """Measure all, print the ratios, and end in 1 where one is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.seconds)
        return
    alone = [{chosen: speeds(0, chosen, given.seconds) for chosen in (True, False)} for _ in range(TURNS)]
    found = {(busy, chosen): speeds(busy, chosen, given.seconds) for busy in BUSY[1:] for chosen in (True, False)}
    for chosen in (True, False):
        found[0, chosen] = {what: median(turn[chosen][what] for turn in alone) for what in alone[0][chosen]}
    slow = False
    for what in ("training", "embedding"):
        alone = found[0, True][what]
        for busy in BUSY:
            now, before = found[busy, True][what], found[busy, False][what]
            ratio = before / now if not busy else alone / now
            slow |= ratio > MOST[busy]
            against = "than with a thread a core" if not busy else "than alone"
            print(
                f"{what:10s} beside {busy}: {now:7.1f} images/s, x{ratio:.2f} slower {against} (at most {MOST[busy]}); "
                f"with a thread a core {before:7.1f}, x{found[0, False][what] / before:.1f}"
            )
    sys.exit(slow)


if __name__ == "__main__":
    main()
