"""The figures of a campaign as a page.

Belongs here: words and tables. Does not belong here: what is counted (each section's `figures`).
"""

from types import ModuleType
from typing import Any

from campaign.compare import IGNORED, IGNORED_FILES, IGNORED_RESULTS

_HEAD = """# What faults do to a survey

Written by `make campaign` from [faults.json](faults.json); the sections are modules of `benchmarks/campaign/`.

A small real survey (60 SDSS images in two deliveries, a recipe that takes a minute) is run once without any fault. Its
data folder is copied whenever a stage begins, and each case starts from such a copy.
`make campaign DATA=<folder of real surveys> OUT=<file>.json` runs all sections in about two hours on two cores, goes on
where it was stopped, and prints this page; `ONLY=kills` runs one section. A full disk needs a user who may mount one in
memory. The sections are {names}.

Two data folders are compared value by value: every column of every table, method and data version in each footer, label
events, pixels, checkpoints and figures byte by byte, the views of the read model with their rows. Left out are
{ignored}.
"""


def page(kept: dict[str, Any], modules: dict[str, ModuleType]) -> str:
    """The page in Markdown.

    Parameters
    ----------
    kept : the content of the file of figures, see `state.State`.
    modules : the sections by name, in the order of the page.
    """
    ignored = [f"`{table}.{column}` ({why})" for table, columns in IGNORED.items() for column, why in columns.items()]
    ignored += [f"row `{row}` of `results` ({why})" for row, why in IGNORED_RESULTS.items()]
    ignored += [f"`{name}` ({why})" for name, why in IGNORED_FILES.items()]
    names = ", ".join(f"`{name}`" for name in modules)
    parts = [_HEAD.format(ignored=", ".join(ignored), names=names), f"Machine: {kept['machine']}; {kept['date']}."]
    for name, module in modules.items():
        if name in kept["sections"]:
            parts.append(_section(name, module, kept["sections"][name]["cases"]))
    return "\n".join(parts) + "\n"


def _section(name: str, module: ModuleType, cases: dict[str, dict[str, Any]]) -> str:
    rows = [f"| {what} | {_shown(value)} |" for what, value in module.figures(list(cases.values())).items()]
    said = (module.__doc__ or "").split("\n\nBelongs here")[0]
    wrong = [line for case, found in cases.items() for line in _wrong(case, found["wrong"])]
    skipped = [f"- {case}: {found['skipped']}" for case, found in cases.items() if "skipped" in found]
    lines = [f"\n## {name.replace('_', ' ').capitalize()}\n", said, "", "| counted | |", "|---|---|", *rows]
    lines += ["\nSkipped:\n", *skipped] if skipped else []
    if wrong:
        lines += ["\nNot as it should be:\n", *wrong]
    return "\n".join(lines)


def _wrong(case: str, wrong: list[str]) -> list[str]:
    """What is wrong with a case, the first three of it."""
    more = [f"- {case}: and {len(wrong) - 3} more"] if len(wrong) > 3 else []
    return [f"- {case}: {_plain(w)}" for w in wrong[:3]] + more


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    """One line without marks of Markdown, cut off."""
    return " ".join(text.split())[:300].replace("|", "/").replace("`", "'").replace("<", "(").replace(">", ")")
