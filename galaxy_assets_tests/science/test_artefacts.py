"""Evidence against cutouts whose fault is known, and regions on maps whose islands are known."""

from dataclasses import replace

import cv2
import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.artefact_regions import Region, apply_regions, propose_regions, share_unasked
from galaxy_assets.science.artefacts import evidence
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.settings.artefacts import ArtefactRules

RULES = ArtefactRules()
AGREED = ArtefactRules(most_removed=1)
SIDE = 64


def galaxy(seed: int = 0) -> np.ndarray:
    """uint8 (64, 64, 3): a round source on a noisy sky."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    source = 150 * np.exp(-(rows**2 + columns**2) / 200)
    sky = np.random.default_rng(seed).normal(20, 2, (SIDE, SIDE, 3))
    return np.rint(sky + source[..., None] * [1, 0.8, 0.6]).clip(0, 255).astype(np.uint8)


def judge(image: np.ndarray, outcome: str = "cropped") -> dict:
    return evidence(image[None], [outcome], RULES).to_pylist()[0]


class TestEvidence:
    def test_a_galaxy_is_not_suspect(self):
        row = judge(galaxy())
        assert (row["suspect"], row["reason"], row["fallback"], row["blank"]) == (False, "", False, False)
        assert row["blank_fraction"] < 0.3 and row["saturated_fraction"] == 0
        assert row["edge_flux_ratio"] < 0.7 and row["band_mismatch"] < 0.05

    def test_a_few_pixels_on_nothing_are_blank(self):
        image = np.full((SIDE, SIDE, 3), 7, np.uint8)
        image[30:33, 30:33] = 60
        row = judge(image)
        assert row["blank_fraction"] == 1 - 9 / SIDE**2
        assert row["blank"] and row["suspect"] and row["reason"] == "blank"

    def test_saturation_in_one_band_counts(self):
        image = galaxy()
        image[:, 20:24, 1] = 250
        row = judge(image)
        assert row["saturated_fraction"] == 4 / SIDE and row["reason"] == "saturated, trail"
        image[:, 20:24, 1] = 249
        assert judge(image)["saturated_fraction"] == 0

    def test_a_bright_border(self):
        image = np.full((SIDE, SIDE, 1), 100, np.uint8)
        image[8:-8, 8:-8] = 77  # between the border and the central half: counts for neither
        image[16:-16, 16:-16] = 50
        row = judge(image)
        assert row["edge_flux_ratio"] == 2 and row["reason"] == "edge_flux"
        image[16:-16, 16:-16] = 0
        assert judge(image)["edge_flux_ratio"] == np.inf

    def test_a_shifted_band_mismatches(self):
        image = galaxy()
        aligned = judge(image)["band_mismatch"]
        mismatch = []
        for shift in (4, 8, 16):
            image[..., 2] = np.roll(galaxy()[..., 2], shift, axis=1)
            mismatch.append(judge(image)["band_mismatch"])
        assert aligned < mismatch[0] < mismatch[1] < mismatch[2]
        bands = image.reshape(-1, 3).T.astype(float)
        assert mismatch[2] == pytest.approx(1 - np.corrcoef(bands).min(), abs=1e-5)

    def test_a_constant_band_and_a_grey_image(self):
        image = galaxy()
        image[..., 2] = 9
        assert judge(image)["band_mismatch"] == 1
        assert judge(image[..., :1])["band_mismatch"] == 0

    def test_fallbacks(self):
        none, edge = judge(galaxy(), "fallback_no_contour"), judge(galaxy(), "fallback_edge")
        assert (none["fallback"], none["suspect"], none["reason"]) == (True, True, "fallback_no_contour")
        assert (edge["fallback"], edge["suspect"], edge["reason"]) == (True, False, "")

    @pytest.mark.parametrize("outcome", sorted(WITHOUT_PIXELS))
    def test_without_pixels_nothing_is_measured(self, outcome):
        row = judge(np.zeros((SIDE, SIDE, 3), np.uint8), outcome)
        assert row["blank"] and row["suspect"] and row["reason"] == outcome
        assert row["blank_fraction"] is None and row["edge_flux_ratio"] is None and row["fallback"] is False

    def test_several_reasons_and_the_order_of_rows(self, tmp_path):
        white = np.full((SIDE, SIDE, 3), 255, np.uint8)
        stored = np.lib.format.open_memmap(
            tmp_path / "cutouts.npy", mode="w+", dtype=np.uint8, shape=(3, SIDE, SIDE, 3)
        )
        stored[:] = galaxy(0), white, galaxy(1)
        table = evidence(stored, ["cropped", "fallback_no_contour", "cropped"], RULES)
        assert table["reason"].to_pylist() == ["", "blank, saturated, edge_flux, fallback_no_contour", ""]

    @pytest.mark.parametrize("band", [0, 1, 2])
    @pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
    def test_a_line_in_one_band_is_a_trail_of_its_length(self, band, slope):
        image = galaxy()
        columns = np.arange(8, 56)
        image[np.rint(4 + slope * columns).astype(int), columns, band] = 240
        row = judge(image)
        assert row["trail_length"] == pytest.approx(48 * np.hypot(1, slope) / SIDE, rel=0.05)
        assert row["reason"] == "trail"

    def test_what_is_in_every_band_or_thick_or_grey_is_no_trail(self):
        line, disc = galaxy(), galaxy()
        line[20, 8:56] = 240
        disc[26:36, 4:60, 2] = 240  # a blue edge-on disc, six times as long as wide
        assert judge(line)["trail_length"] == judge(disc)["trail_length"] == 0
        assert judge(line[..., :1])["trail_length"] == 0

    def test_a_faint_trail_across_a_large_galaxy_is_found(self):
        y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
        image = np.rint(130 * np.exp(-(x**2 + y**2) / 800))[..., None].repeat(3, axis=2).astype(np.uint8)
        image[30, :, 1] += 90
        assert judge(image)["reason"] == "trail"

    @pytest.mark.parametrize("angle", [0, 0.3, np.pi / 2])
    @pytest.mark.parametrize("width", [1, 2, 4])
    def test_a_trail_across_a_bright_galaxy_is_found(self, angle, width):
        rng, y, x = np.random.default_rng(0), *(np.mgrid[:200, :200] - 99.5)
        image = rng.normal(10, 2, (200, 200, 3)) + 200 * np.exp(-np.hypot(x, y) / 20)[..., None]
        across = y * np.cos(angle) - x * np.sin(angle) - 29.5
        image[..., 1] += 120 * (np.abs(across) < width / 2)
        assert judge(np.rint(image).clip(0, 255).astype(np.uint8))["reason"] == "trail"

    @pytest.mark.parametrize("jpeg", [None, 80])
    @pytest.mark.parametrize("name", ["viridis", "inferno", "magma", "plasma", "hot", "jet"])
    def test_a_thin_source_in_the_colours_of_a_map_is_no_trail(self, name, jpeg):
        rng, y, x = np.random.default_rng(0), *(np.mgrid[:150, :150] - 75)
        colours = (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
        for angle in rng.uniform(0, np.pi, 12):
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            jet = np.exp(-np.abs(across) / 1.5 - (along / 25) ** 2) * 0.6 + np.exp(-(x**2 + y**2) / 8)
            edge_on = np.exp(-np.abs(along) / 16) / np.cosh(across / 2.2) ** 2
            for light in (jet, edge_on):
                noisy = light / light.max() + rng.normal(0, 0.01, light.shape)
                image = colours[(noisy.clip(0, 1) * 255).astype(np.uint8)]
                if jpeg:
                    image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg])[1], 1)
                assert judge(image)["trail_length"] == 0

    @pytest.mark.parametrize("side", [64, 150, 256])
    @pytest.mark.parametrize("colour", [(240, 110, 60), (90, 120, 200), (230, 170, 90), (255, 40, 20)])
    def test_a_thin_coloured_disc_is_no_trail_and_what_crosses_it_is_one(self, side, colour):
        rng, y, x = np.random.default_rng(0), *(np.mgrid[:side, :side] - side / 2)
        along, across = x * np.cos(0.5) + y * np.sin(0.5), y * np.cos(0.5) - x * np.sin(0.5)
        for height in (0.04, 0.08, 0.12):
            light = np.exp(-np.abs(along) / (side / 6)) / np.cosh(across / (height * side / 6)) ** 2
            image = (light[..., None] * colour + rng.normal(8, 3, (side, side, 3))).clip(0, 255)
            assert judge(image.astype(np.uint8))["trail_length"] == 0
            image[..., 1] += 150 * np.exp(-0.5 * ((along - side / 8) / max(side / 128, 0.7)) ** 2)
            assert judge(image.clip(0, 255).astype(np.uint8))["reason"] == "trail"

    def test_a_coloured_area_that_the_border_cuts_off_is_no_trail(self):
        image = galaxy()
        image[:, -3:, 0] = 240
        assert judge(image)["trail_length"] == 0
        image[:, -12:-9, 0] = 240
        assert judge(image)["trail_length"] == pytest.approx(1, rel=1e-3)

    def test_a_compact_source_on_nothing_is_no_blank_image_unless_a_persons_limit_says_so(self):
        image = np.zeros((SIDE, SIDE, 1), np.uint8)
        image[31:33, 31:33] = 255
        assert judge(image)["blank_fraction"] > 0.99 and judge(image)["reason"] == ""
        (row,) = evidence(image[None], ["whole"], ArtefactRules(blank_fraction=0.98)).to_pylist()
        assert row["reason"] == "blank"
        for colour in ((0, 0, 255), (255, 0, 0)):
            coloured = np.zeros((SIDE, SIDE, 3), np.uint8)
            coloured[31:33, 31:33] = colour
            assert judge(coloured)["reason"] == ""
        strip = np.zeros((SIDE, SIDE, 1), np.uint8)
        strip[:, -1] = 255  # the edge of a field
        assert judge(strip)["blank"]

    @pytest.mark.parametrize(("width", "is_trail"), [(4, True), (5, False)])
    def test_a_trail_is_ten_times_as_long_as_it_is_wide(self, width, is_trail):
        image = galaxy()
        image[26 : 26 + width, 6:58, 2] = 240  # 52 pixels; a pixel is added to the width
        assert (judge(image)["trail_length"] > 0) == is_trail

    def test_a_measure_at_its_limit_makes_an_image_suspect(self):
        image, bright = galaxy(), galaxy()
        bright[:16, :16] = 255
        measured = judge(bright)
        for name in ("saturated_fraction", "edge_flux_ratio", "blank_fraction"):
            reason = name.removesuffix("_fraction").removesuffix("_ratio")
            for limit, fires in ((measured[name], True), (measured[name] * 1.001, False)):
                rules = ArtefactRules(**{"saturated_fraction": 1, "edge_flux_ratio": 9, name: limit})
                (row,) = evidence(bright[None], ["cropped"], rules).to_pylist()
                assert (row["suspect"], row["reason"]) == (fires, reason if fires else "")
        image[20, 8:56, 1] = 240
        for limit, fires in ((judge(image)["trail_length"], True), (0.8, False)):
            (row,) = evidence(image[None], ["cropped"], ArtefactRules(trail_length=limit)).to_pylist()
            assert row["reason"] == ("trail" if fires else "")

    def test_no_image(self):
        assert evidence(np.zeros((0, SIDE, SIDE, 3), np.uint8), [], RULES).num_rows == 0

    def test_lengths_must_agree(self):
        with pytest.raises(ValueError, match="1 cutouts but 2 outcomes"):
            evidence(galaxy()[None], ["cropped"] * 2, RULES)


def world(islands: list[tuple[float, float, int, float]], seed: int = 0):
    """x, y, suspect, reason of islands (x, y, members, share of suspects) of width 0.3."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(cx, 0.3, n) for cx, _, n, _ in islands])
    y = np.concatenate([rng.normal(cy, 0.3, n) for _, cy, n, _ in islands])
    suspect = np.concatenate([np.arange(n) < share * n for _, _, n, share in islands])
    return x, y, suspect, ["edge_flux" if s else "" for s in suspect]


class TestRegions:
    def test_the_islands_of_suspects_are_found(self):
        x, y, suspect, reason = world([(0, 0, 2000, 0.02), (8, 8, 200, 0.9), (-8, 5, 80, 1.0), (0, 9, 300, 0.2)])
        first, second = propose_regions(x, y, suspect, reason, RULES)
        assert (first.region, second.region) == (1, 2) and first.status == "proposed"
        assert first.x0 > 6 and first.y0 > 6 and 150 <= first.n_suspect <= 180 and first.purity > 0.8
        assert second.x1 < -6 and second.n >= 60 and second.purity == 1
        assert first.reasons == f"edge_flux {first.n_suspect}"
        kept, rule = apply_regions(x, y, [""] * len(x), [first, second], AGREED)
        assert kept[:2000].all() and kept[2280:].all()
        assert (~kept).sum() == first.n + second.n
        assert rule.count("region 1") == first.n and rule.count("region 2") == second.n

    @given(
        n=st.integers(1, 300), share=st.floats(0, 1), seed=st.integers(0, 99), purity=st.floats(0.1, 1),
        minimum=st.integers(1, 20),
    )  # fmt: skip
    def test_every_region_keeps_its_promise(self, n, share, seed, purity, minimum):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, n)).astype(np.float32)
        suspect = rng.random(n) < share
        x[rng.random(n) < 0.1] = np.nan
        rules = ArtefactRules(region_purity=purity, region_minimum=minimum)
        regions = propose_regions(x, y, suspect, ["blank" if s else "" for s in suspect], rules)
        assert [r.region for r in regions] == list(range(1, len(regions) + 1))
        for region in regions:
            inside = region.holds(x, y)
            assert region.n == inside.sum() >= minimum and region.n_suspect == (inside & suspect).sum()
            assert region.purity == region.n_suspect / region.n >= purity * (1 - 1e-12)

    @given(seed=st.integers(0, 99), scale=st.sampled_from([0.25, 8.0, 1024.0]))
    def test_units_of_the_map_do_not_matter(self, seed, scale):
        x, y, suspect, reason = world([(0, 0, 200, 0.05), (5, 5, 40, 0.9)], seed)
        once = propose_regions(x, y, suspect, reason, RULES)
        scaled = propose_regions(x * scale, y * scale, suspect, reason, RULES)
        assert once and [(r.n, r.n_suspect) for r in scaled] == [(r.n, r.n_suspect) for r in once]

    def test_a_mixed_island_is_not_torn_to_pieces(self):
        x, y, suspect, reason = world([(0, 0, 4000, 0.02), (9, 9, 2000, 0.65)])
        order = np.random.default_rng(1).permutation(2000) + 4000
        suspect[4000:], reason[4000:] = suspect[order], [reason[i] for i in order]
        largest, *others = propose_regions(x, y, suspect, reason, RULES)
        assert largest.n > 1900 and sum(region.n for region in others) < 40

    def test_scattered_suspects_propose_nothing(self):
        rng = np.random.default_rng(3)
        suspect = rng.random(3000) < 0.05
        reason = ["edge_flux" if s else "" for s in suspect]
        assert propose_regions(rng.normal(size=3000), rng.normal(size=3000), suspect, reason, RULES) == []

    def test_no_map(self):
        nowhere = np.full(4, np.nan)
        assert propose_regions(nowhere, nowhere, np.ones(4, bool), ["blank"] * 4, RULES) == []

    @pytest.mark.parametrize(("more", "n"), [("", 1), ("edge_flux", 0), ("saturated", 0)])
    def test_where_most_images_are_suspect_nothing_is_proposed(self, more, n):
        x, y, suspect, reason = world([(0, 0, 100, 0), (9, 9, 100, 1)])
        suspect[0], reason[0] = bool(more), more
        assert len(propose_regions(x, y, suspect, reason, RULES)) == n

    @pytest.mark.parametrize("counted", [True, False])
    def test_what_most_images_show_hides_no_other_evidence(self, counted):
        x, y, suspect, reason = world([(0, 0, 300, 0), (9, 9, 30, 1.0)])
        most = ["nodata, " * (i % 5 < 3) + one for i, one in enumerate(reason)]
        rules = RULES if counted else RULES.model_copy(update={"region_evidence": ("edge_flux",)})
        most = [one.removesuffix(", ") for one in most]
        (found,) = propose_regions(x, y, np.array([bool(one) for one in most]), most, rules)
        (alone,) = propose_regions(x, y, suspect, reason, RULES)
        assert (found.x0, found.y1, found.n_suspect) == (alone.x0, alone.y1, alone.n_suspect)
        assert found.reasons == alone.reasons, "what counts, and nothing else"

    def test_a_region_rests_on_the_evidence_that_the_survey_names(self):
        x, y, suspect, _ = world([(0, 0, 300, 0), (9, 9, 30, 1.0)])
        reason = ["fallback_no_contour" if s else "" for s in suspect]
        assert len(propose_regions(x, y, suspect, reason, RULES)) == 1
        careful = ArtefactRules(region_evidence=("blank", "saturated", "edge_flux", "trail", "nodata"))
        assert propose_regions(x, y, suspect, reason, careful) == []
        both = [f"saturated, {one}" if one else "" for one in reason]
        assert len(propose_regions(x, y, suspect, both, careful)) == 1

    def test_one_point_many_times(self):
        same, suspect = np.repeat([1.0, 9.0], 6), np.arange(12) < 6
        reasons = ["blank, saturated"] * 6 + [""] * 6
        (region,) = propose_regions(same, same, suspect, reasons, RULES)
        assert (region.x0, region.x1, region.n, region.reasons) == (1, 1, 6, "blank 6, saturated 6")


class TestApply:
    box = Region(1, 0, 0, 1, 1, 5, 5, 1.0, "edge_flux 5")
    x = np.array([0.0, 1.0, 1.5, np.nan, 0.5])
    y = np.array([0.0, 1.0, 0.5, np.nan, 0.5])

    def test_decisive_evidence_goes_before_regions_and_the_first_region_before_the_second(self):
        larger = replace(self.box, region=2, x1=2)
        reasons = ["blank", "saturated", "", "edge_flux, trail", ""]
        kept, rule = apply_regions(self.x, self.y, reasons, [self.box, larger], AGREED)
        assert rule == ["blank", "region 1", "region 2", "trail", "region 1"]
        assert not kept.any()
        stricter = AGREED.model_copy(update={"decisive": ("saturated",)})
        kept, rule = apply_regions(self.x, self.y, reasons, [], stricter)
        assert rule == [None, "saturated", None, None, None] and kept.sum() == 4

    def test_a_rejected_region_removes_nothing(self):
        kept, rule = apply_regions(self.x, self.y, [""] * 5, [replace(self.box, status="rejected")], RULES)
        assert kept.all() and kept.dtype == bool and rule == [None] * 5

    @pytest.mark.parametrize(("most", "n_kept"), [(0.19, 10), (0.2, 8), (1.0, 8)])
    def test_more_than_a_share_is_removed_only_with_a_yes(self, most, n_kept):
        x, reasons = np.arange(10.0), ["blank", "trail"] + [""] * 8
        rules = ArtefactRules(most_removed=most)
        kept, rule = apply_regions(x, x, reasons, [], rules)
        assert kept.sum() == n_kept and rule == ["blank", "trail"] + [None] * 8

    def test_an_accepted_region_is_a_yes_for_what_it_holds_and_for_nothing_else(self):
        x = np.arange(10.0)
        box = Region(1, 0, 0, 5, 5, 6, 6, 1.0, "review", "accepted")
        kept, rule = apply_regions(x, x, ["blank"] * 7 + [""] * 3, [box], RULES)
        assert kept.tolist() == [False] * 6 + [True] * 4 and rule == ["blank"] * 7 + [None] * 3
        kept, _ = apply_regions(x, x, [""] * 10, [replace(box, status="proposed")], RULES)
        assert kept.all()
        kept, _ = apply_regions(x, x, ["blank"] * 7 + [""] * 3, [box], ArtefactRules(most_removed=0.1))
        assert kept.tolist() == [False] * 7 + [True] * 3

    def test_the_share_is_of_all_that_the_map_is_fitted_on_in_whatever_delivery(self):
        """Class folders are deliveries: how many images a class has decides nothing."""
        x, places = np.arange(4.0), np.arange(100.0)
        for n, kept_of_class in ((5, [False, True, True, True]), (6, [True] * 4)):
            fitted = share_unasked(places, places, ["blank"] * n + [""] * (100 - n), [], RULES)
            assert fitted == n / 100
            kept, rule = apply_regions(x, x, ["blank", "", "", ""], [], RULES, np.zeros(4, bool), fitted)
            assert kept.tolist() == kept_of_class and rule == ["blank", None, None, None]

    @pytest.mark.parametrize(("here", "later", "removed"), [(0, 2, 2), (0, 3, 0), (6, 8, 8), (6, 9, 0)])
    @pytest.mark.parametrize("fitted", [0.05, 0.06])
    def test_of_later_images_as_many_go_as_of_those_of_their_delivery_and_a_few_more(
        self, here, later, removed, fitted
    ):
        x = np.arange(40.0)
        reason = ["blank"] * here + [""] * (20 - here) + ["trail"] * later + [""] * (20 - later)
        kept, _ = apply_regions(x, x, reason, [], RULES, x >= 20, fitted)
        assert (~kept[:20]).sum() == (here if fitted == 0.05 else 0)
        assert (~kept[20:]).sum() == (removed if fitted == 0.05 or not here else 0)

    def test_one_image_that_was_replaced_by_an_artefact_is_one_of_its_delivery(self):
        x = np.arange(100.0)
        kept, _ = apply_regions(x, x, ["blank"] + [""] * 99, [], RULES, x == 0, 0.0)
        assert kept.tolist() == [False] + [True] * 99

    @pytest.mark.parametrize(
        ("share", "there", "blank", "removed"), [(0.05, 5, 40, 45), (0.06, 5, 40, 0), (0.05, 5, 700, 5)]
    )
    def test_of_a_delivery_that_a_sample_was_drawn_from_all_are_judged_alike(self, share, there, blank, removed):
        """100 of its images were drawn; of the 900 others so many are blank, 700 where it was exported anew."""
        x = np.arange(1000.0)
        reason = ["blank"] * there + [""] * (100 - there) + ["blank"] * blank + [""] * (900 - blank)
        kept, _ = apply_regions(x, x, reason, [], RULES, x >= 100, share, drawn=True)
        assert (~kept).sum() == removed

    def test_a_yes_is_to_whatever_the_region_holds(self):
        x, box = np.arange(100.0), Region(1, 0, 0, 9, 9, 10, 10, 1.0, "review", "accepted")
        kept, rule = apply_regions(x, x, ["blank"] * 10 + [""] * 90, [box], RULES, np.ones(100, bool), 0.0)
        assert kept.sum() == 90 and rule.count("blank") == 10

    def test_no_image(self):
        assert share_unasked(np.zeros(0), np.zeros(0), [], [self.box], RULES) == 0
        kept, rule = apply_regions(np.zeros(0), np.zeros(0), [], [self.box], RULES)
        assert kept.shape == (0,) and rule == []
