"""What labels come to: people outrank the oracle, undos take back and restore, the order of arrival does not matter."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science import labels
from galaxy_assets.science.labels import STANDING, standing, taken_back, what_people_scored, why_alike
from galaxy_assets.storage.label_events import EVENTS

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int, kind: str = "score", **says) -> dict:
    row = dict.fromkeys(EVENTS.names) | {"event": f"e{number:03d}", "time": START + timedelta(seconds=number // 2)}
    return row | {"kind": kind, "galaxy_id": "g", "who": "ann", "source": "cli"} | says


def holds(*events: dict) -> list[dict]:
    return standing(pa.Table.from_pylist(list(events), schema=EVENTS)).to_pylist()


def test_people_are_averaged_over_their_latest_scores_and_outrank_the_oracle():
    oracle = event(0, score=5, source="oracle", who="volunteers", round=3)
    first = event(1, score=0)
    (alone,) = holds(oracle)
    assert alone == {
        "galaxy_id": "g",
        "score": 5.0,
        "n_people": 0,
        "label": None,
        "by": "oracle",
        "round": 3,
        "first_event": "e000",
    }
    (row,) = holds(oracle, first, event(2, score=3), event(3, score=2, who="ben"))
    assert (row["score"], row["n_people"], row["by"], row["round"]) == (2.5, 2, "people", 3)
    (row,) = holds(first, event(2, "class", label="ring"), event(3, "class", label="arc", who="ben"))
    assert (row["score"], row["label"], row["round"], row["first_event"]) == (0.0, "arc", None, "e001")
    (row,) = holds(oracle, event(4, "class", label="ring"))
    assert (row["score"], row["n_people"], row["label"], row["by"]) == (5.0, 0, "ring", "people")


def test_an_undo_brings_back_what_was_said_before_and_the_oracle_when_nothing_was():
    oracle, first, second = event(0, score=4, source="oracle", who="o"), event(1, score=1), event(2, score=2)
    undo, redo = event(3, "undo", undoes="e002"), event(5, "undo", undoes="e003")
    assert [row["score"] for row in holds(oracle, first, second, undo)] == [1.0]
    assert [row["score"] for row in holds(oracle, first, second, undo, redo)] == [2.0]
    assert [row["score"] for row in holds(oracle, second, undo)] == [4.0]
    assert holds(second, undo) == [] and standing(EVENTS.empty_table()).schema == STANDING


def test_an_undo_takes_back_what_it_names_whatever_the_clocks_say():
    undo, score, redo = event(0, "undo", undoes="e004"), event(4, score=3), event(1, "undo", undoes="e000")
    assert holds(undo, score) == []
    assert [row["score"] for row in holds(undo, score, redo)] == [3.0]
    assert [row["score"] for row in holds(undo, score, event(9, "undo", undoes="e000"))] == [3.0]


def test_undos_that_name_each_other_take_nothing_else_back():
    circle = [event(1, "undo", undoes="e002"), event(2, "undo", undoes="e001"), event(3, "undo", undoes="e003")]
    assert [row["score"] for row in holds(event(0, score=3), *circle)] == [3.0]
    assert taken_back([*circle, event(4, "undo", undoes="e001")]) == {"e001"}


@st.composite
def histories(draw, clocks_agree: bool = False) -> list[dict]:
    """Up to 25 events of three people and the oracle about three galaxies, in which an undo names any event that was
    there; unless the clocks agree, it may be dated before it."""
    events: list[dict] = []
    for number in range(draw(st.integers(0, 25))):
        galaxy, who = draw(st.sampled_from("ghi")), draw(st.sampled_from(["ann", "ben", "cat"]))
        kind = draw(st.sampled_from(["score", "score", "class", "undo", "oracle"]))
        if kind == "undo" and events:
            target = draw(st.sampled_from(events))
            undo = event(number, "undo", undoes=target["event"], galaxy_id=target["galaxy_id"], who=who)
            early = 0 if clocks_agree else draw(st.integers(0, 30))
            events.append(undo | {"time": undo["time"] - timedelta(seconds=early)})
        elif kind == "class":
            events.append(event(number, "class", label=draw(st.sampled_from("ab")), galaxy_id=galaxy, who=who))
        else:
            source = {"source": "oracle", "who": "o", "round": 1} if kind == "oracle" else {"who": who}
            events.append(event(number, score=draw(st.integers(0, 5)), galaxy_id=galaxy, **source))
    return events


def by_the_words(events: list[dict]) -> dict[str, tuple]:
    """Score and class of each galaxy, written down as the rules are spoken."""

    def stands(one: dict) -> bool:
        return not any(e["kind"] == "undo" and e["undoes"] == one["event"] and stands(e) for e in events)

    said = [e for e in events if e["kind"] != "undo" and stands(e)]
    found = {}
    for galaxy in {e["galaxy_id"] for e in said}:
        own = [e for e in said if e["galaxy_id"] == galaxy]
        people = {e["who"]: e["score"] for e in own if e["kind"] == "score" and e["source"] != "oracle"}
        simulated = [e["score"] for e in own if e["source"] == "oracle"]
        score = sum(people.values()) / len(people) if people else (simulated or [None])[-1]
        found[galaxy] = (score, len(people), ([e["label"] for e in own if e["kind"] == "class"] or [None])[-1])
    return found


@given(histories(), st.randoms())
def test_neither_order_nor_duplicates_matter_and_the_rules_are_those_spoken(events, random):
    expected = holds(*events)
    shuffled = events + random.sample(events, len(events) // 2)
    random.shuffle(shuffled)
    assert holds(*shuffled) == expected
    assert {r["galaxy_id"]: (r["score"], r["n_people"], r["label"]) for r in expected} == by_the_words(events)


@given(histories().filter(bool), st.data())
def test_an_undo_that_is_undone_changes_nothing(events, data):
    target = data.draw(st.sampled_from(events))
    undo = event(100, "undo", undoes=target["event"], galaxy_id=target["galaxy_id"])
    redo = event(102, "undo", undoes=undo["event"], galaxy_id=target["galaxy_id"])
    assert holds(*events, undo, redo) == holds(*events)
    assert holds(*events, undo, redo, event(104, "undo", undoes=redo["event"])) == holds(*events, undo)


@given(st.permutations(["a", "b", "c"]))
def test_of_what_was_said_at_one_time_what_was_recorded_last_holds_whatever_the_ids(names):
    said = [
        event(0, event=name, score=i, time=START, recorded=START + timedelta(days=i)) for i, name in enumerate(names)
    ]
    assert [row["score"] for row in holds(*said)] == [2.0]


def test_of_very_many_scores_the_sentence_says_that_a_sample_is_learnt_from(monkeypatch):
    monkeypatch.setattr(labels, "MOST_SCORES", 2)
    rows = [{"galaxy_id": f"g{i}", "score": float(i), "n_people": 1, "by": "people"} for i in range(5)]
    now = pa.Table.from_pylist(rows, schema=STANDING)
    ranking = pa.table({"galaxy_id": [f"g{i}" for i in range(5)], "score_std": [0.1] * 5})
    words = "people have scored 5 galaxies, from 0 to 4; the ranking learns from 2 of them, a sample"
    assert what_people_scored(now, now, now.slice(1, 2), ranking) == words
    assert what_people_scored(now, now.slice(1), now.slice(1, 2), ranking) == f"{words}; 1 newer score waits for a run"


def test_scores_read_but_not_learnt_from_wait_for_a_run():
    rows = [{"galaxy_id": f"g{i}", "score": float(i), "n_people": 1, "by": "people"} for i in range(3)]
    now = pa.Table.from_pylist(rows, schema=STANDING)
    ranking = pa.table({"galaxy_id": ["g0", "g1", "g2"], "score_std": [0.1] * 3})
    assert what_people_scored(now, now, now.slice(0, 2), ranking).endswith(
        "the ranking learns from 2 of them; 1 newer score waits for a run"
    )


def test_scores_that_tell_nothing_apart_are_told_with_the_reason():
    rows = [{"galaxy_id": f"g{i}", "score": 3.0, "n_people": 1, "by": "people"} for i in range(3)]
    said = pa.Table.from_pylist(rows, schema=STANDING)
    assert why_alike(said.slice(0, 0), pa.array(["g0"]), "s") == ""
    assert why_alike(said, pa.array(["g0", "g1"]), "s").startswith("all 2 scores given are 3, so they tell no galaxies")
    nowhere = why_alike(said, pa.array(["h"]), "s")
    assert nowhere.startswith("all 3 scores given are of galaxies that are not among those kept, such as g0")
