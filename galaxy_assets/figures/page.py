"""One static page of the paper's figures, survey by survey, for a browser and without a server.

Belongs here: HTML of what it is given. Does not belong here: the platform; where pictures and tables lie is told to it.
Everything from outside (names, captions, results) is escaped; there is no script and nothing is fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class FigureEntry:
    """A figure or table on the page.

    Attributes
    ----------
    name, title, section, caption : str
        Of its asset, and what is written above and below it.
    numbers : mapping
        What is said of it in numbers: name -> value.
    reason : str or None
        Why it cannot be made; None where it can.
    picture, print : str or None
        Links to the PNG and the PDF, relative to the page; None where there is none.
    rows : sequence of mapping
        The rows of a table; none for a figure.
    """

    name: str
    title: str
    section: str
    caption: str = ""
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)
    reason: str | None = None
    picture: str | None = None
    print: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class SurveyEntry:
    """A survey on the page, with the rows of its table `results`."""

    name: str
    title: str
    description: str
    figures: Sequence[FigureEntry]
    results: Sequence[Mapping[str, Any]] = ()


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1e23; --soft: #5a6270; --page: #ffffff; --card: #f5f6f8; --line: #d9dde3;
  --link: #00558a; --good: #00664b; --bad: #a33f00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --soft: #a2aab7; --page: #15171b; --card: #1e2127; --line: #353a43; --link: #7cc4f0;
    --good: #57c9a4; --bad: #f29a5c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; }
section.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1.2rem; }
figure { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  min-width: 0; }
figure h3 { margin: 0 0 .6rem; font-size: 1.05rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto .6rem; background: #ffffff; padding: 6px;
  border-radius: 3px; }
figcaption p { margin: .4rem 0; }
.soft, dt { color: var(--soft); font-size: .9rem; }
.agrees { color: var(--good); } .differs { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; margin: .5rem 0; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .88rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); }
code { font-size: .9em; overflow-wrap: anywhere; }
"""
_RESULTS = ("check_id", "description", "expected", "observed", "tolerance", "verdict", "note")


def page(surveys: Sequence[SurveyEntry], dagster: str = "http://127.0.0.1:3000") -> str:
    """The whole page as HTML.

    Parameters
    ----------
    surveys : sequence of SurveyEntry
        In the order of the page.
    dagster : str
        Address of the UI to which every asset is linked.

    Returns
    -------
    str
        HTML without scripts; all text in it is escaped.
    """
    contents = "".join(f'<li><a href="#{_mark(s.name)}">{escape(s.title)}</a></li>' for s in surveys)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Figures of every survey</title><style>{_STYLE}</style></head>\n<body>"
        "<h1>Figures of every survey</h1>\n"
        "<p>The figures and tables of Mohale &amp; Lochner (2023), made anew from each survey that has what they need. "
        "Each is a table too: its key is the name of an asset and of a view in the lake. Links to assets need the "
        f"Dagster UI, which <code>galaxy-assets dev</code> starts.</p>\n<nav><ul>{contents}</ul></nav>\n"
        + "\n".join(_survey(survey, dagster) for survey in surveys)
        + "\n</body></html>\n"
    )


def _survey(survey: SurveyEntry, dagster: str) -> str:
    figures = "\n".join(_figure(survey.name, figure, dagster) for figure in survey.figures)
    return (
        f'<h2 id="{_mark(survey.name)}">{escape(survey.title)} <span class="soft">{escape(survey.name)}</span></h2>\n'
        f"<p>{escape(survey.description)}</p>\n{_results(survey.results)}"
        f'<section class="figures">\n{figures}\n</section>'
    )


def _figure(survey: str, figure: FigureEntry, dagster: str) -> str:
    key = f"{survey}/{figure.name}"
    number = figure.name.replace("_0", " ").replace("_", " ").capitalize()
    parts = [f"<h3>{escape(number)}. {escape(figure.title)}</h3>"]
    if figure.picture is not None:
        shown = f'<img src="{_link(figure.picture)}" alt="{escape(figure.title)}" loading="lazy">'
        parts.append(f'<a href="{_link(figure.picture)}">{shown}</a>')
    if figure.rows:
        parts.append(_table(figure.rows, list(figure.rows[0])))
    said = figure.caption if figure.reason is None else f"Not applicable: {figure.reason}."
    numbers = "".join(f"<dt>{escape(k)}</dt><dd>{escape(_cell(v))}</dd>" for k, v in figure.numbers.items())
    link = _link(f"{dagster}/assets/{key}", safe=":/")
    links = [f'<a href="{link}"><code>{escape(key)}</code></a>']
    if figure.print is not None:
        links.append(f'<a href="{_link(figure.print)}">PDF</a>')
    parts.append(
        f"<figcaption><p>{escape(said)}</p>{f'<dl>{numbers}</dl>' if numbers else ''}"
        f'<p class="soft">Paper: section {escape(figure.section)}. {" · ".join(links)}</p></figcaption>'
    )
    return f'<figure id="{_mark(survey)}-{_mark(figure.name)}">{"".join(parts)}</figure>'


def _results(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return '<p class="soft">No results yet.</p>\n'
    verdicts: dict[str, int] = {}
    for row in rows:
        verdicts[str(row["verdict"])] = verdicts.get(str(row["verdict"]), 0) + 1
    count = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    shown = _table(rows, [name for name in _RESULTS if name in rows[0]])
    return f"<details><summary>Results: {len(rows)} numbers ({escape(count)})</summary>{shown}</details>\n"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = ""
    for row in rows:
        kind = row.get("verdict")
        attribute = f' class="{kind}"' if kind in ("agrees", "differs") else ""
        cells = "".join(
            f"<td{attribute if name == 'verdict' else ''}>{escape(_cell(row[name]))}</td>" for name in columns
        )
        body += f"<tr>{cells}</tr>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _mark(name: str) -> str:
    return quote(name, safe="")


def _link(path: str, safe: str = "/") -> str:
    return escape(quote(path, safe=safe))
