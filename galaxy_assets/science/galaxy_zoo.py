"""The questions that Galaxy Zoo DECaLS and Galaxy Zoo 2 ask their volunteers: one decision tree per campaign.

Belongs here: questions, their answers and what leads to them. Does not belong here: the volunteers' tables and what
follows from their votes (`votes`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question of the decision tree.

    Attributes
    ----------
    name : str
    answers : tuple of str
    parents : tuple of (str, str)
        (question, answer) pairs that lead here, several where branches meet again, the one that section 6.2 of the
        paper asks for last; empty for the root.
    delivered : tuple of str
        The answers as Galaxy Zoo 2's table names them.
    """

    name: str
    answers: tuple[str, ...]
    parents: tuple[tuple[str, str], ...] = ()
    delivered: tuple[str, ...] = ()

    @property
    def total_column(self) -> str:
        """Name of the column that counts its votes."""
        return f"{self.name}_total-votes"


_SMOOTH = ("smooth-or-featured", "smooth")
_FEATURED = ("smooth-or-featured", "featured-or-disk")
_FACE_ON = ("disk-edge-on", "no")
_SPIRAL = ("has-spiral-arms", "yes")

TREES: dict[str, tuple[Question, ...]] = {
    "1_and_2": (
        Question("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        Question("how-rounded", ("completely", "in-between", "cigar-shaped"), (_SMOOTH,)),
        Question("disk-edge-on", ("yes", "no"), (_FEATURED,)),
        Question("edge-on-bulge", ("rounded", "boxy", "none"), (("disk-edge-on", "yes"),)),
        Question("bar", ("yes", "no"), (_FACE_ON,)),
        Question("has-spiral-arms", ("yes", "no"), (_FACE_ON,)),
        Question("spiral-winding", ("tight", "medium", "loose"), (_SPIRAL,)),
        Question("spiral-arm-count", ("1", "2", "3", "4", "more-than-4"), (_SPIRAL,)),
        Question("bulge-size", ("none", "obvious", "dominant"), (_FACE_ON,)),
        Question("merging", ("merger", "tidal-debris", "both", "neither"), (_SMOOTH, _FEATURED)),
    ),
    "5": (
        Question("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        Question("disk-edge-on", ("yes", "no"), (_FEATURED,)),
        Question("has-spiral-arms", ("yes", "no"), (_FACE_ON,)),
        Question("bar", ("strong", "weak", "no"), (_FACE_ON,)),
        Question("bulge-size", ("dominant", "large", "moderate", "small", "none"), (_FACE_ON,)),
        Question("how-rounded", ("round", "in-between", "cigar-shaped"), (_SMOOTH,)),
        Question("edge-on-bulge", ("boxy", "none", "rounded"), (("disk-edge-on", "yes"),)),
        Question("spiral-winding", ("tight", "medium", "loose"), (_SPIRAL,)),
        Question("spiral-arm-count", ("1", "2", "3", "4", "more-than-4", "cant-tell"), (_SPIRAL,)),
        Question("merging", ("none", "minor-disturbance", "major-disturbance", "merger"), (_SMOOTH, _FEATURED)),
    ),
    "gz2": (
        Question(
            "smooth-or-featured",
            ("smooth", "featured-or-disk", "artifact"),
            delivered=tuple(
                f"t01_smooth_or_features_{a}" for a in ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact")
            ),
        ),
        Question("disk-edge-on", ("yes", "no"), (_FEATURED,), ("t02_edgeon_a04_yes", "t02_edgeon_a05_no")),
        Question("bar", ("yes", "no"), (_FACE_ON,), ("t03_bar_a06_bar", "t03_bar_a07_no_bar")),
        Question("has-spiral-arms", ("yes", "no"), (_FACE_ON,), ("t04_spiral_a08_spiral", "t04_spiral_a09_no_spiral")),
        Question(
            "bulge-size",
            ("none", "just-noticeable", "obvious", "dominant"),
            (_FACE_ON,),
            tuple(
                f"t05_bulge_prominence_{a}"
                for a in ("a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant")
            ),
        ),
        Question("something-odd", ("yes", "no"), (_SMOOTH, _FEATURED), ("t06_odd_a14_yes", "t06_odd_a15_no")),
        Question(
            "how-rounded",
            ("completely", "in-between", "cigar-shaped"),
            (_SMOOTH,),
            tuple(f"t07_rounded_{a}" for a in ("a16_completely_round", "a17_in_between", "a18_cigar_shaped")),
        ),
        Question(
            "odd-feature",
            ("ring", "lens-or-arc", "disturbed", "irregular", "other", "merger", "dust-lane"),
            (("something-odd", "yes"),),
            tuple(
                f"t08_odd_feature_{a}"
                for a in (
                    "a19_ring",
                    "a20_lens_or_arc",
                    "a21_disturbed",
                    "a22_irregular",
                    "a23_other",
                    "a24_merger",
                    "a38_dust_lane",
                )
            ),
        ),
        Question(
            "edge-on-bulge",
            ("rounded", "boxy", "none"),
            (("disk-edge-on", "yes"),),
            tuple(f"t09_bulge_shape_{a}" for a in ("a25_rounded", "a26_boxy", "a27_no_bulge")),
        ),
        Question(
            "spiral-winding",
            ("tight", "medium", "loose"),
            (_SPIRAL,),
            tuple(f"t10_arms_winding_{a}" for a in ("a28_tight", "a29_medium", "a30_loose")),
        ),
        Question(
            "spiral-arm-count",
            ("1", "2", "3", "4", "more-than-4", "cant-tell"),
            (_SPIRAL,),
            tuple(
                f"t11_arms_number_{a}" for a in ("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell")
            ),
        ),
    ),
}
"""The decision trees by campaign; questions and answers in the order of the delivered columns (Walmsley et al. 2022;
Willett et al. 2013). Galaxy Zoo 2 has DECaLS's names where it asks the same, in the order of Kaggle's classes."""
