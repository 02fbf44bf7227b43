"""What is drawn, on made-up rows: histograms, samples, colours, and letters that can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlipstore.plotting.collect import Collected, Collector, Rows
from mlipstore.plotting.histogram import BORDERS, Histogram
from mlipstore.plotting.sample import Sample, keys

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


# --------------------------------------------------------- histogram and sample
def values(seed: int, n: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.standard_t(1.5, n) * 30, [0.0, -0.0, 1e-30, -1e-30, 1e25, -1e25]])


def test_histogram_is_that_of_numpy() -> None:
    x, h = values(0), Histogram()
    for part in np.array_split(x, 7):
        h.add(part)
    h.add(x[:0])
    counts, below, above = h.linear(4.0, 32)
    want = np.histogram(x, np.arange(-32, 33) * 4.0)[0]
    assert (below, above) == ((x < -128).sum(), (x >= 128).sum())
    assert abs(counts - want).sum() <= 2  # -1e-30 counts left of zero
    assert counts.sum() + below + above == h.n == len(x)


def test_quantiles_of_a_histogram() -> None:
    x, h = values(1), Histogram()
    h.add(x)
    assert (h.greatest, h.least, h.reach) == (1e25, -1e25, 1e25)
    for q in (0.01, 0.2, 0.5, 0.9, 0.999):
        assert h.quantile(q) == pytest.approx(np.quantile(x, q, method="inverted_cdf"), rel=0.01, abs=1e-3)
    border = float(BORDERS[np.searchsorted(BORDERS, 50.0)])
    assert h.above(border) == (x >= border).sum()
    assert h.below(-border) == (x <= -border).sum()


def test_sum_of_histograms() -> None:
    a, b, both = Histogram(), Histogram(), Histogram()
    for h, x in ((a, values(2)), (b, values(3, 50)), (both, values(2)), (both, values(3, 50))):
        h.add(x)
    assert np.array_equal((a + b).counts, both.counts)
    assert (a + b).reach == both.reach


def test_sample_does_not_depend_on_the_blocks() -> None:
    rng = np.random.default_rng(5)
    n = 30_000
    cell = rng.choice(5, n, p=[0.9, 0.06, 0.03, 0.0095, 0.0005])
    key, x, r = keys("s", 1, np.arange(n)), rng.normal(size=n), rng.standard_t(2, n)
    drawn = []
    for cuts in (1, 13, 400):
        sample = Sample(5, 2000, 50)
        for i in np.array_split(np.arange(n), cuts):
            sample.add(key[i], cell[i], x[i], r[i])
        drawn.append(sample.points())
        assert len(sample._points) <= 2000
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])
    counts = np.bincount(cell, minlength=5)
    got = np.bincount(drawn[0]["cell"], minlength=5)
    full = counts > sample.level
    assert (got[~full] == counts[~full]).all() and (got[full] >= sample.level).all()
    assert 1900 < len(drawn[0]) <= 2050
    worst = np.sort(np.abs(r))[-50:]
    assert np.isin(worst, np.abs(drawn[0]["residual"])).all()
    # a fair sample: the mean of the drawn ones of the largest cell is that of all
    big = drawn[0]["cell"] == 0
    assert abs(drawn[0]["reference"][big].mean() - x[cell == 0].mean()) < 4 / np.sqrt(big.sum())


# ----------------------------------------------------------------------- drawing
def synthetic(
    groups: int, rows: int, splits: int = 2, scale: float = 1.0, name: str = "model_1$", kinds: tuple[int, ...] = (1,)
) -> Collected:
    """Rows of many groups of long names, errors over three decades and a few wild ones."""
    rng = np.random.default_rng(groups)
    names = [f"Group_{i}_$with_{{a}}$_long_name_{'x' * (i % 30)}" for i in range(groups)]
    collector = Collector(names)
    for kind in kinds:
        group = rng.integers(0, groups, rows).astype(np.int32)
        reference = rng.normal(size=rows) * 3 - 8 * (kind == 0)
        r = rng.standard_t(2.5, rows) * 10.0 ** (-3 * group / max(1, groups)) * scale
        split = (rng.random(rows) < 0.2).astype(np.int8) if splits == 2 else np.zeros(rows, np.int8)
        collector.add(Rows(kind, split, group, reference, r, keys("s", kind, np.arange(rows))))
    return collector.collected(name, np.ones((groups, 3)))


def pictures(collected: Collected) -> dict[str, Any]:
    from mlipstore.plot import _figures

    return dict(_figures(collected))


def texts(figure: Any) -> list[tuple[Any, Any]]:
    """Visible texts of a drawn figure with the rectangles they take, in pixels."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    hidden = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            inside = low <= tick.get_loc() <= high
            for label in (tick.label1, tick.label2):
                if not inside or not label.get_visible() or not tick.get_visible():
                    hidden.add(label)
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    return [(t, t.get_window_extent(renderer)) for t in dict.fromkeys(found)]


CASES: dict[str, dict[str, Any]] = {
    "44 groups": {"groups": 44, "rows": 4_000},
    "140 groups": {"groups": 140, "rows": 1_500, "splits": 1},
    "all kinds": {"groups": 3, "rows": 900, "kinds": (0, 1, 2)},
    "two rows": {"groups": 2, "rows": 2, "splits": 1, "kinds": (2,)},
    "wild": {"groups": 12, "rows": 21_000, "splits": 1, "scale": 100.0},
    "exact": {"groups": 3, "rows": 300, "scale": 0.0},
    "nearly exact": {"groups": 3, "rows": 300, "scale": 1e-15, "kinds": (0,)},
    "huge": {"groups": 3, "rows": 300, "scale": 1e9},
    "a long name": {"groups": 3, "rows": 300, "splits": 1, "name": "model_of_tantalum_" * 10, "kinds": (2,)},
}


@pytest.mark.parametrize("case", CASES)
def test_letters_can_be_read(case: str) -> None:
    """At least 8 points high, inside the picture, and none upon another."""
    from mlipstore.plotting.style import style

    with style():
        for name, figure in pictures(synthetic(**CASES[case])).items():
            everything = texts(figure)
            assert min(t.get_fontsize() for t, _ in everything) >= 8, name
            boxes = np.array([[b.x0, b.y0, b.x1, b.y1] for _, b in everything])
            canvas = (0, 0, figure.bbox.width, figure.bbox.height)
            outside = np.abs(boxes - np.clip(boxes, canvas[:2] * 2, canvas[2:] * 2)).max(axis=1)
            assert outside.max() <= 1, (name, everything[int(np.argmax(outside))][0])
            low, high = boxes[:, :2], boxes[:, 2:]
            overlap = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).min(axis=2)
            np.fill_diagonal(overlap, 0)
            i, j = np.unravel_index(np.argmax(overlap), overlap.shape)
            # a box has room above and below its letters
            assert overlap[i, j] <= 2.5, (name, everything[i][0], everything[j][0])
            for box in [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]:
                place = box.get_window_extent().padded(-4)
                assert not any(place.overlaps(a.get_window_extent()) for a in figure.axes), name


def test_a_group_has_one_colour_in_all_pictures() -> None:
    from mlipstore.plotting.parity import parity
    from mlipstore.plotting.style import style

    collected = synthetic(44, 3_000, kinds=(0, 1, 2))
    legends = []
    for kind in collected.kinds:
        with style():
            box = parity(collected, kind).axes[1].get_legend()
        colours = [h.get_color() for h in box.legend_handles]
        legends.append(dict(zip((t.get_text() for t in box.get_texts()), colours, strict=True)))
    assert legends[0] == legends[1] == legends[2]
    assert len(set(legends[0].values())) == 13 and "32 other groups" in legends[0]


def test_colours_stay_apart_for_every_eye() -> None:
    """CIELAB distances as seen by colour-blind eyes; matrices of Machado et al. 2009, doi:10.1109/TVCG.2009.113."""
    from mlipstore.plotting.style import COLOURS, GREY

    eyes = {
        22.0: ([1, 0, 0, 0, 1, 0, 0, 0, 1],
               [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
               [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881]),
        20.0: ([1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900],),
    }  # fmt: skip
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (*COLOURS, GREY)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]]) / [[0.95047], [1.0], [1.08883]]  # fmt: skip
    for least, matrices in eyes.items():
        for matrix in matrices:
            x = np.clip(linear @ np.reshape(matrix, (3, 3)).T, 0, 1) @ to_xyz.T
            f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
            lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
            distance = np.linalg.norm(lab[:, None] - lab, axis=2) + 1e3 * np.eye(len(lab))
            assert distance.min() >= least
