"""The command line: `python -m campaign DATA OUT`, from the folder `benchmarks`.

Belongs here: which sections run and where their figures go. Does not belong here: any section.
"""

import argparse
from pathlib import Path

from campaign import kills
from campaign.state import State
from campaign.world import reference

SECTIONS = {"kills": kills}


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with sdss_gz1/")
    parser.add_argument("out", type=Path, help="JSON of the figures; copies of the data folder go beside it")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="sections to run; all when not given")
    parser.add_argument("--at-most", type=int, help="cases of a section")
    given = parser.parse_args()
    state = State(given.out)
    whole = reference(given.data, given.out.with_suffix(".world"))
    for name in given.only or SECTIONS:
        cases = SECTIONS[name].cases(whole)
        state.run(name, dict(list(cases.items())[: given.at_most]))


if __name__ == "__main__":
    main()
