"""A code location of one asset, which holds pool `gpu` until a file `go` lies in $HELD."""

import os
import time
from pathlib import Path

import dagster as dg


@dg.asset(pool="gpu")
def held(context: dg.AssetExecutionContext) -> None:
    folder = Path(os.environ["HELD"])
    (folder / f"{context.run.run_id}.begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)
    (folder / f"{context.run.run_id}.ended").touch()


defs = dg.Definitions(assets=[held], executor=dg.in_process_executor)
