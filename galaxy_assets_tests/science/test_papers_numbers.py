"""The checklist beside a copy that was read out of the paper by hand: a slip of the pen in either fails."""

from galaxy_assets.science.checklist import checklist

BY_ID = {check.id: check for check in checklist()}

NUMBERS = {  # copied from the paper by hand, with the tolerance; words are below
    "D1": (269760, 0),
    "D2": (65290, 0),
    "D2:clean": (65290, 9141),
    "D3": (232041, 2320),
    "D3:share": (0.1398, 0.01),
    "P1": (4, 0),
    "P2:box": (2, 0),
    "P2:size": (300, 0),
    "P3:features": (512, 0),
    "P4:neighbours": (15, 0),
    "P4:distance": (0.01, 0),
    "B1:epochs": (20, 0),
    "B1:learning_rate": (0.0001, 0),
    "B1:batch_size": (128, 0),
    "B1:projection": (100, 0),
    "B2:blur": (0.5, 0),
    "B2:flip": (0.5, 0),
    "B2:crop": (0.7, 0),
    "B2:crop_minimum": (0.7, 0),
    "B2:rotation": (0.7, 0),
    "B2:rotation_maximum": (180, 0),
    "B3": (0.99, 0),
    "B4": (117, 0),
    "B5:variance": (0.95, 0),
    "B5:imagenet": (29, 5),
    "E1:votes": (5, 0),
    "E1:fraction": (0.8, 0),
    "E1:merger": (0.2, 0),
    "E2": (4231, 212),
    "E3": (4034, 202),
    "E4": (5344, 267),
    "E5:neighbours": (5, 0),
    "E5:splits": (50, 0),
    "E5:test": (0.25, 0),
    "E6": (0.13, 0.05),
    "E6:peak": (1, 0),
    "E7:imagenet": (0.95, 0.02),
    "C1:components": (20, 0),
    "C1:prior": (0.5, 0),
    "C1:starts": (10, 0),
    "C1:iterations": (1000, 0),
    "C2:imagenet": (20, 0),
    "C3:imagenet": (8, 2),
    "C3:imagenet:galaxies": (5332, 1600),
    "C4:votes": (10, 0),
    "C4:parent": (0.5, 0),
    "C5:imagenet": (0.772, 0.03),
    "C6:imagenet": (0.793, 0.03),
    "C7:imagenet": (0.793, 0.03),
    "C8:imagenet": (0.77, 0.03),
    "A2:threshold": (0.4, 0),
    "A2:votes": (10, 0),
    "A3": (4990, 250),
    "A3:share": (0.07, 0.01),
    "A4": (10, 0),
    "A5:trade_off": (0.5, 0),
    "A5:per_round": (10, 0),
    "A5:budget": (200, 0),
    "A5": (200, 0),
    "A5:share": (0.003, 0.0005),
    "A6": (5, 2),
    "S1": (8, 0),
    "M1": (1256, 0),
    "M1:confident": (833, 8),
    "M2:batch_size": (32, 0),
    "M2:epochs": (50, 0),
    "M2:minutes": (11, 0),
    "M3:starts": (4, 0),
    "M3:order": (6, 0),
    "M4:random": (3, 2),
    "M4:imagenet": (31, 6),
    "M4:gz_decals": (58, 12),
    "M4:rgz": (16, 4),
    "M5:splits": (50, 0),
    "M5:test": (0.25, 0),
    "M6:majority": (0.5, 0),
    "M6:{start}": (0, 0.05),
    "T1": (7, 0),
    "T2": (20, 4),
}
LEFT_OPEN = {  # not in the text: what the paper's tools do, or the reading of docs/fidelity.md
    "P2:shape": 1,
    "P2:grey": 0,
    "P3:input": 300,
    "P3:orientations": 1,
    "B1:hidden": 4096,
    "B1:statistics": 0,
    "B2:contrast": 0,
    "B2:noise": 0,
    "C1:tolerance": 0.001,
    "C3:fraction": 0.5,
    "C5:majority": 0,
    "M2:size": 150,
    "M2:grey": 1,
    "M2:input": 150,
}
WORDS = {
    "D2:campaign": "1_and_2",
    "P1:method": "sigma_clip",
    "P1:threshold": "paper_text",
    "P1:channel": "first",
    "P1:contour": "central",
    "P2:frame": "shift",
    "P2:interpolation": "area_cubic",
    "P3:network": "resnet18",
    "B1:trainer": "byol",
    "B1:batch_norm": "per_view",
    "B1:precision": "float32",
    "E1:reject": ("merging_merger_fraction < 0.2, 1 votes",),
    "E1:classes": ("round_elliptical", "spiral", "edge_on"),
    "E2:cuts": ("smooth-or-featured_smooth_fraction > 0.8, 5 votes", "how-rounded_completely_fraction > 0.8, 5 votes"),
    "E3:cuts": (
        "smooth-or-featured_featured-or-disk_fraction > 0.8, 5 votes",
        "has-spiral-arms_yes_fraction > 0.8, 5 votes",
    ),
    "E4:cuts": ("disk-edge-on_yes_fraction > 0.8, 5 votes",),
    "E1:labels": (),
    "E1:sample": "none",
    "E6:starts": ("random", "imagenet"),
    "E7:main": "imagenet",
    "E7:epoch": "last",
    "C4:inclusive": ("merging",),
    "C4:parents": "root",
    "A1:question": "merging",
    "A1": ("merger", "both"),
    "A1:labels": (),
    "A5:learner": "published",
    "M1:classes": ("FRI", "FRII"),
    "M1:FRI": ("100", "102", "104"),
    "M1:FRII": ("200", "201"),
    "M1:cuts": (),
    "M1:reject": (),
    "M2:framing": "whole",
    "M3:weights": ("random", "imagenet", "gz_decals", "rgz"),
}


def test_every_number_and_word_is_the_papers():
    numbers = {i: (c.expected, c.tolerance) for i, c in BY_ID.items() if isinstance(c.expected, float)}
    assert numbers == NUMBERS | {i: (value, 0) for i, value in LEFT_OPEN.items()}
    assert {i: c.expected for i, c in BY_ID.items() if not isinstance(c.expected, float)} == WORDS
    assert {i: c.also for i, c in BY_ID.items() if c.also} == {"B1:trainer": ("byol_pytorch",)}
    assert {i for i in LEFT_OPEN if not BY_ID[i].note} == set()


def test_the_kinds_of_table_2_are_as_often_as_the_paper_has_them():
    described = {
        "ellipticals": (1, 3, 12, 14),
        "elongated": (2, 10),
        "spirals": (0, 5, 18),
        "mixed": (4, 6, 16),
        "artefacts": (7, 8, 9, 11, 13, 15, 17, 19),
    }
    assert BY_ID["T2"].parts == {kind: len(clusters) for kind, clusters in described.items()}
    assert sorted(sum(described.values(), ())) == list(range(20))


_CLEAN = "cutout umap recipe.backbone recipe.image_size"
_CLASSES = "evaluation.classes evaluation.reject evaluation.maximum_per_class"
_TRUTH = "anomaly.question anomaly.answers anomaly.labels anomaly.truth_threshold anomaly.minimum_votes"
RESTS_ON = {
    "D1 M1 B4 M2:minutes": "",
    "M3:starts": "cutout umap recipe",
    "D2": "source",
    "D2:clean": f"source {_CLEAN}",
    "D3 D3:share": _CLEAN,
    "P3:features": "recipe.backbone",
    "B5:imagenet M4:random M4:imagenet M4:gz_decals M4:rgz": "cutout umap recipe variance",
    "E2 E3 E4": f"source {_CLEAN} {_CLASSES}",
    "E6 E6:peak E7:imagenet": "source cutout umap recipe evaluation",
    "C2:imagenet": "cutout umap recipe variance mixture",
    "C3:imagenet C3:imagenet:galaxies": "source cutout umap recipe variance mixture votes labelling.artefact_fraction",
    "C5:imagenet C6:imagenet C7:imagenet C8:imagenet": f"source cutout umap recipe variance mixture votes labelling "
    f"{_CLASSES}",
    "A3 A3:share": f"source {_CLEAN} {_TRUTH}",
    "A5": "anomaly.seeds anomaly.per_round anomaly.budget",
    "A5:share": f"source {_CLEAN} anomaly.question anomaly.answers anomaly.labels anomaly.seeds anomaly.per_round "
    "anomaly.budget",
    "A6": "source cutout umap recipe variance main_start_weights anomaly",
    "M1:confident": _CLASSES,
    "M3:order": "cutout umap recipe evaluation",
    "M6:{start}": "cutout umap recipe evaluation variance mixture labelling",
    "T2": "source cutout umap recipe variance mixture votes labelling main_start_weights",
}


def test_what_each_measured_number_rests_on():
    rests = {i: set(sections.split()) for ids, sections in RESTS_ON.items() for i in ids.split()}
    assert {c.id: set(c.rests_on) for c in checklist() if c.asset} == rests
    assert not any(c.rests_on for c in checklist() if not c.asset)


def test_a_section_that_a_number_rests_on_has_rows():
    for c in checklist():
        for survey in c.surveys:
            rows = [other.setting for other in checklist() if other.setting and survey in other.surveys]
            for section in c.rests_on:
                assert any(f"{path}.".startswith(f"{section}.") for path in rows), (c.id, section)
