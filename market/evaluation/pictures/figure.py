"""What all pictures share: style, size, title, legend, and how they are written."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from market.evaluation.blocks import Floats
from market.files import replaced
from sql.visible import visible_line

BLUE, ORANGE, GREEN, RED = "#2563a8", "#c2571a", "#2c8a5b", "#a3324f"
GREY = "#7b8794"
_LONGEST = 28  # letters of a group's name
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
    "axes.titlesize": "medium",
    "figure.titlesize": "large",
    "legend.frameon": False,
    "legend.fontsize": "small",
    "text.parse_math": False,
    "svg.hashsalt": "reckoner",  # the same picture is the same file
}
P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in the style of all pictures."""

    def drawn(*arguments: P.args, **options: P.kwargs) -> T:
        with rc_context(_STYLE):
            return draw(*arguments, **options)

    drawn.__doc__ = draw.__doc__
    return drawn


@styled
def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as a PNG named after its key.

    Makes the folder where it is missing. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with replaced(path) as file:
            figure.savefig(file, dpi=144, format="png")
        paths.append(path)
    return paths


@styled
def as_svg(figure: Figure) -> bytes:
    """Return the figure as an SVG document."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def panels(
    title: str, count: int, columns: int, size: tuple[float, float], *, shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a title and panels side by side. size: inches of one panel."""
    columns = min(count, columns) or 1
    rows = -(-count // columns) or 1
    width = max(size[0] * columns, 5.0)
    figure = Figure(figsize=(width, size[1] * rows + 0.9), layout="constrained")
    figure.suptitle(visible_line(title), x=0.01, ha="left")
    first: Axes | None = None
    drawn = []
    for n in range(count):
        axes = figure.add_subplot(rows, columns, n + 1, sharey=first if shared else None)
        first = first or axes
        drawn.append(axes)
    return figure, drawn


def legend(figure: Figure, axes: Sequence[Axes], columns: int = 4) -> None:
    """Put one legend of all panels below them."""
    handles: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=min(columns, len(handles)),
        )


def interval(
    axes: Axes,
    at: Floats,
    middle: Floats,
    bounds: tuple[Floats, Floats],
    is_guess: Any,
    *,
    label: str,
    upright: bool = True,
) -> None:
    """Draw points with intervals; hollow and pale where there is too little to say.

    bounds: low and high; NaN draws none. is_guess: for each point.
    """
    # By rounding, Wilson's interval may exclude the mean.
    lengths = np.maximum(np.vstack([middle - bounds[0], bounds[1] - middle]), 0)
    is_guess = np.asarray(is_guess, dtype=bool)
    for mask, name, face, alpha in (
        (~is_guess, label, BLUE, 1.0),
        (is_guess, f"{label}, too little to say", "white", 0.55),
    ):
        if mask.any():
            x, y = (at[mask], middle[mask]) if upright else (middle[mask], at[mask])
            side: Any = {"yerr" if upright else "xerr": lengths[:, mask]}
            axes.errorbar(
                x, y, fmt="o", capsize=3, color=BLUE, mfc=face, alpha=alpha, label=name, **side
            )


def short(name: str) -> str:
    """Return a group's name as a picture shows it."""
    shown = visible_line(name)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def horizon_name(horizon: str) -> str:
    """Return T+7 for t7."""
    return horizon.replace("t", "T+")
