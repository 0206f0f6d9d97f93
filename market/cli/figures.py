"""The figures of reports: whether they are wanted, which ones, and where they are written.

matplotlib and pandas are imported when a figure is drawn, so that commands start fast.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sql.errors import InvalidInput, ReckonerError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CAPTIONS = {
    "accuracy-by-horizon": "Right by horizon, with 95 % intervals",
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
    frame: "pd.DataFrame", paths: "pd.DataFrame | None", groups: list[Any], benchmark: str
) -> "dict[str, Figure]":
    """Draw the figures of an accuracy report, by file name."""
    from market.evaluation import accuracy, calibration, pictures  # noqa: PLC0415

    series: dict[str, list[Any]] = {}
    for group in groups:
        series.setdefault(group.group, []).append(group)
    if len(series) > pictures.MOST:
        series = {"all": accuracy.groups(frame)}
    return {
        "accuracy-by-horizon": pictures.accuracy_by_horizon(series),
        "cumulative-pnl": pictures.cumulative_pnl(frame, benchmark),
        **({} if paths is None else {"event-study": pictures.event_study(frame, paths)}),
        **of_calibration(calibration.calibrations(frame)),
    }


def of_calibration(found: list[Any]) -> "dict[str, Figure]":
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
