"""The figures of reports: whether they are wanted, which ones, and where they are written.

matplotlib and pandas are imported when a figure is drawn, so that commands start fast.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sql.errors import InvalidInput, ReckonerError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from market.evaluation.records import Calibration, Comparison, Group

CAPTIONS = {
    "accuracy-by-horizon": "Right by horizon, with 95 % intervals",
    "accuracy-by-group": "Right by group, with 95 % intervals",
    "comparison": "How much more often A is right than B, with 95 % intervals",
    "cumulative-pnl": "Cumulative pnl of $1,000 on each outcome, by the day of the exit",
    "event-study": "Average path around the entry, with 95 % bands",
    "reliability": "Confidence: stated and right, on later posts",
}


def are_wanted(plots: Path | None, *, html: bool) -> bool:
    """Tell whether pictures are drawn; raises InvalidInput without matplotlib."""
    if plots is None and not html:
        return False
    try:
        import matplotlib  # noqa: F401, PLC0415 - checks whether it is there
    except ImportError:
        option = "--format html" if plots is None else "--plots"
        raise InvalidInput(f"{option} needs the extra 'plots' (matplotlib)") from None
    return True


def of_accuracy(
    frame: "pd.DataFrame",
    paths: "pd.DataFrame | None",
    groups: "list[Group]",
    by: str | None,
    benchmark: str,
) -> "dict[str, Figure]":
    """Draw the figures of an accuracy report, by file name.

    groups: the lines of the report, in their order. by: their grouping.
    """
    from market.evaluation import calibration, pictures  # noqa: PLC0415

    first = (
        {"accuracy-by-group": pictures.by_group(groups, by)}
        if by
        else {"accuracy-by-horizon": pictures.by_horizon(groups)}
    )
    return {
        **first,
        "cumulative-pnl": pictures.cumulative_pnl(frame, benchmark),
        **({} if paths is None else {"event-study": pictures.event_study(frame, paths)}),
        **of_calibration(calibration.calibrations(frame)),
    }


def of_comparison(found: "list[Comparison]") -> "dict[str, Figure]":
    """Draw the figure of a comparison, by file name."""
    from market.evaluation import pictures  # noqa: PLC0415

    return {"comparison": pictures.comparison(found)}


def of_calibration(found: "list[Calibration]") -> "dict[str, Figure]":
    """Draw the figures of a calibration report, by file name."""
    from market.evaluation import pictures  # noqa: PLC0415

    return {"reliability": pictures.reliability(found)}


def save(figures: "dict[str, Figure]", folder: Path | None) -> None:
    """Write the figures into a folder, if there is one, and print their paths to stderr."""
    if folder is None:
        return
    from market.evaluation import pictures  # noqa: PLC0415

    try:
        paths = pictures.save(figures, folder)
    except OSError as error:
        raise ReckonerError(f"--plots {folder}: {error.strerror}") from error
    sys.stderr.write("".join(f"{path}\n" for path in paths))
