"""`device`: what this machine computes on, whether it computes right, and how fast.

Belongs here: what is printed. Does not belong here: choosing devices (`science.devices`), the measurements
(`science.device_check`).
"""

import os
from typing import TYPE_CHECKING

import typer

from galaxy_assets.cli.terminal import say

if TYPE_CHECKING:
    import torch

    from galaxy_assets.settings.recipe import Recipe


def device() -> None:
    """Say what networks are computed on, and check it in a minute.

    It prints every device with its memory, why no GPU is used where none is, whether the first device computes what
    the CPU computes, and how many images a second it trains on and embeds. It ends with status 1 where answers differ.

    Example: galaxy-assets device
    """
    from galaxy_assets.science.device_check import equalities
    from galaxy_assets.science.devices import choose_devices, describe, why_no_gpu
    from galaxy_assets.settings.recipe import Recipe

    devices = choose_devices()
    for one in devices:
        found = describe(one)
        precision = "bfloat16 and float32" if found.bfloat16 else "float32; bfloat16 is slow on it"
        say(f"{one}  {found.name}, {found.free / 1e9:.1f} of {found.memory / 1e9:.1f} GB free, {precision}")
    if reason := why_no_gpu():
        say(f"no GPU is used: {reason}")
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        say(f"CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r}: others are not seen")
    if len(devices) > 1:
        say(f"trainings share every batch among the {len(devices)} devices; the first one embeds")
    recipe = Recipe(preset="paper")
    say(f"\n{devices[0]} beside the CPU" if devices[0].type != "cpu" else "\nthe CPU beside itself")
    right = True
    for equality in equalities(recipe, devices[0]):
        right &= equality.holds
        verdict = "equal" if equality.holds else "DIFFERENT"
        say(f"  {verdict:9}  {equality.what}: {equality.found:.1e}, at most {equality.limit:.0e}")
    say("\nResNet-18, images a second")
    _say_speeds(recipe, devices[0])
    if not right:
        say("the device does not compute what the CPU does: do not trust its results; update driver and PyTorch")
        raise typer.Exit(1)


def _say_speeds(recipe: "Recipe", device: "torch.device") -> None:
    """Training and embedding in both precisions, in half a minute on a CPU and less on a GPU."""
    from galaxy_assets.science.device_check import embedding_speed, training_speed

    on_cpu = device.type == "cpu"
    size, batch, steps, count = (64, 16, 2, 64) if on_cpu else (224, 128, 40, 20_000)
    for precision in ("float32", "bfloat16"):
        changes = {"image_size": size, "batch_size": batch, "epochs": 2, "precision": precision}
        for speed in (
            training_speed(recipe.model_copy(update=changes), device, steps=steps),
            embedding_speed(device, size=size, count=count, precision=precision),
        ):
            say(
                f"  {speed.what:9}  {size} px, {precision}: {speed.images_per_second:,.0f} "
                f"({speed.teraflops:.3g} TFLOP/s)"
            )
