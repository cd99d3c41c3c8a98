"""The page shows what it is given and nothing of it is code: galaxy_assets.figures.page."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.figures.page import FigureEntry, SurveyEntry, page

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;"
RESULT = {
    "check_id": "D1",
    "description": "images",
    "expected": 10.0,
    "observed": 9.0,
    "verdict": "differs",
    "note": "",
}


class Read(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def one(**changes) -> str:
    figure = {
        "name": "figure_03",
        "title": "Accuracy",
        "section": "5.2",
        "caption": "Two starts.",
        "numbers": {"a": 0.5},
    }
    return page([SurveyEntry("tiny", "Tiny", "Blobs.", [FigureEntry(**figure | changes)], [RESULT])])


def test_figure_links_to_its_picture_its_print_and_its_asset():
    read = Read(one(picture="../lake/tiny/figures/figure_03.png", print="../lake/tiny/figures/figure_03.pdf"))
    links = [a["href"] for tag, a in read.tags if tag == "a"]
    assert links == [
        "#tiny",
        "../lake/tiny/figures/figure_03.png",
        "http://127.0.0.1:3000/assets/tiny/figure_03",
        "../lake/tiny/figures/figure_03.pdf",
    ]
    assert [a["src"] for tag, a in read.tags if tag == "img"] == ["../lake/tiny/figures/figure_03.png"]
    for said in ("Figure 3. Accuracy", "Two starts.", "tiny/figure_03", "section 5.2", "differs", "0.5"):
        assert said in read.text


def test_a_figure_that_cannot_be_made_says_why_and_shows_nothing():
    html = one(reason="the survey has no volunteers' votes", caption="")
    assert "Not applicable: the survey has no volunteers' votes." in Read(html).text
    assert "<img" not in html and ">PDF<" not in html


def test_a_table_shows_its_rows():
    rows = [{"setting": "Epochs", "paper": "20", "agrees": False, "purity": float("nan")}]
    text = Read(one(name="table_1", rows=rows)).text
    assert "Table 1" in text and "Epochs" in text and "no" in text and "nan" not in text


@given(st.text(max_size=60) | st.just(HOSTILE))
def test_nothing_given_becomes_code(text: str):
    figure = FigureEntry(text, text, text, text, {text: text}, None, text, text, [{text: text}])
    hostile = Read(page([SurveyEntry(text, text, text, [figure], [RESULT | {"description": text, "verdict": text}])]))
    plain = Read(
        page(
            [
                SurveyEntry(
                    "a",
                    "a",
                    "a",
                    [FigureEntry(*"aaaa", {"a": "a"}, None, "a", "a", [{"a": "a"}])],
                    [RESULT | {"description": "a", "verdict": "a"}],
                )
            ]
        )
    )
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in plain.tags]


def test_the_page_runs_nothing_fetches_nothing_and_has_two_themes():
    html = one(picture="p.png", print="p.pdf")
    tags = {tag for tag, _ in Read(html).tags}
    assert not tags & {"script", "link", "iframe", "object", "form"}
    assert not re.search(r"url\(|@import|\son\w+=", html)
    fetched = [a["src"] for _, a in Read(html).tags if "src" in a]
    assert fetched == ["p.png"]
    assert "prefers-color-scheme: dark" in html
