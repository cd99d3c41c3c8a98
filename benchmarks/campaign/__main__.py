"""The command line: `python -m campaign DATA OUT`, from the folder `benchmarks`.

Belongs here: which sections run and where their figures go. Does not belong here: any section.
"""

import argparse
import signal
import sys
from pathlib import Path

from campaign import bit_flips, events, full_disk, http, inputs, kills, sql
from campaign.page import page
from campaign.state import State
from campaign.world import reference

SECTIONS = {
    "kills": kills,
    "full_disk": full_disk,
    "inputs": inputs,
    "sql": sql,
    "http": http,
    "events": events,
    "bit_flips": bit_flips,
}


def main() -> None:
    """Run the sections asked for and print the page; ends with 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with sdss_gz1/, mirabest/ and gz_decals_sample/")
    parser.add_argument("out", type=Path, help="JSON of the figures; copies of the data folder go beside it")
    parser.add_argument("--page", type=Path, help="Markdown file of the page")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="sections to run; all when not given")
    parser.add_argument("--at-most", type=int, help="cases of a section")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it started ends with it
    folder = given.out.resolve().with_suffix(".world")
    state, whole = State(given.out, folder), reference(given.data.resolve(), folder)
    for name in given.only or SECTIONS:
        cases = SECTIONS[name].cases(whole)
        state.run(name, dict(list(cases.items())[: given.at_most]))
    text = page(state.kept, SECTIONS)
    if given.page is not None:
        given.page.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(any(case["wrong"] for kept in state.sections.values() for case in kept["cases"].values()))


if __name__ == "__main__":
    main()
