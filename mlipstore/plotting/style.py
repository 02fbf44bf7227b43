"""Look of the pictures: fonts, colours, names and numbers; figures without pyplot and its global state."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SMALL, TEXT, TITLE = 8.0, 9.0, 11.0
DPI = 150
GREY, FAINT, INK = "#B4B4B4", "#DDDDDD", "#222222"
#: Training and test in bars and histograms: blue and orange of Okabe and Ito.
SPLIT_COLOURS = ("#0072B2", "#E69F00")
#: The same, dark enough for small letters.
SPLIT_INKS = ("#005A8E", "#9A6A00")
#: For groups: found by search so that any two of them, and each and the grey, are at least 22 apart in CIELAB for
#: normal and red- or green-blind eyes and 20 for blue-blind ones (simulated after Machado et al. 2009,
#: doi:10.1109/TVCG.2009.113); in an order where the first few differ most.
COLOURS = (
    "#8060FF", "#A02000", "#FFC000", "#602080", "#80E080", "#E0A0FF", "#602020", "#C08000", "#20A060", "#4000A0",
    "#A060C0", "#A02060",
)  # fmt: skip
_RC = {
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT,
    "axes.titlesize": TEXT + 1,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "svg.hashsalt": "mlipstore",  # the same file every time
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
}


@contextmanager
def style() -> Iterator[None]:
    """Our settings of matplotlib instead of the user's, which come back afterwards.

    :raises MissingDependencyError: matplotlib is not installed
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib, which is not installed. Install it with pip install 'mlipstore[plot]'."
        ) from error
    with matplotlib.style.context(["default", _RC]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(*texts: Text) -> None:
    """Show user's names as they are: a ``$`` begins no formula."""
    for text in texts:
        text.set_parse_math(False)


def footnote(figure: Figure, notes: list[str]) -> None:
    """Small print along the lower edge, in as many lines as it takes."""
    letters = int(figure.get_figwidth() / 0.07)
    lines: list[str] = []
    for note in notes:
        if lines and len(lines[-1]) + 3 + len(note) <= letters:
            lines[-1] += " · " + note
        else:
            lines.append(note)
    if lines:
        plain(figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=SMALL))


def heading(figure: Figure, model: str, *parts: str, reserved: float = 0.2) -> None:
    """What the picture shows, in the upper left corner.

    :param reserved: width that something else takes there, in inches
    """
    rest = " · ".join(["", *parts])
    letters = (figure.get_figwidth() - reserved) / 0.1  # of bold ones of this size
    text = shortened(model, max(12, int(letters) - len(rest))) + rest
    plain(figure.suptitle(text, x=0.012, ha="left", fontsize=TITLE, fontweight="bold"))


def legend(target: Axes | Figure, handles: list[Any], names: list[str], **options: Any) -> Any:
    """A legend with any names, also those that matplotlib gives a meaning (``_x``, ``$x$``)."""
    out = target.legend(handles, [f"{i}" for i in range(len(names))], **options)
    for text, name in zip(out.get_texts(), names, strict=True):
        plain(text)
        text.set_text(name)
    return out


def shortened(name: str, limit: int = 32) -> str:
    """A name in one line of printable characters, its middle left out where it is too long.

    >>> shortened("a_very_long_name_of_a_group_of_configurations_300K", 24)
    'a_very_long_…ations_300K'
    """
    clean = "".join(c if c.isprintable() else "�" for c in name)
    if len(clean) <= limit:
        return clean
    head = limit // 2
    return f"{clean[:head]}…{clean[head + 1 - limit :]}"


def number(value: float, digits: int = 3) -> str:
    """A value for a label, with ``digits`` significant ones.

    >>> number(1234.5), number(12.34), number(0.0123), number(1e-7), number(0)
    ('1,234', '12.3', '0.0123', '1e-07', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    power = math.floor(math.log10(abs(value)))
    if not -4 <= power <= 6:
        return f"{value:.{digits - 1}g}"
    return f"{value:,.{max(0, digits - 1 - power)}f}"


def file_stem(name: str, id_: str) -> str:
    """A model's name as the beginning of file names; one that has to be changed gets a piece of its id.

    >>> file_stem("W-Be_v1.2", "3c1a0f"), file_stem("../x/$y", "3c1a0f")
    ('W-Be_v1.2', 'x_y-3c1a')
    """
    safe = re.sub(r"[^\w.+=@,-]", "_", name).strip(" ._")[:100]
    return safe if safe == name else "-".join(filter(None, [re.sub("_+", "_", safe), id_[:4]]))


def _tick(value: float) -> str:
    """A number along an axis.

    >>> _tick(-12000.0), _tick(0.25), _tick(2e9), _tick(-1e-7)
    ('−12,000', '0.25', '2e9', '−1e−7')
    """
    if value == 0 or 1e-5 <= abs(value) < 1e7:
        return f"{value:,.10g}".replace("-", "−")
    digits, _, power = f"{value:.4e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}".replace("-", "−")


def written_out(*axes: Axis) -> None:
    """Plain numbers along axes: no superscripts, which would be too small to read, and no common offset."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: _tick(value))
        if axis.get_scale() != "linear":
            axis.set_minor_formatter(lambda value, _: "")
