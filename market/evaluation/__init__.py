"""Did the predictions come true? The numbers of reports, and the frame that they are made from.

    from market.evaluation import outcomes_frame
    with psycopg.connect(url) as conn:
        frame = outcomes_frame(conn, horizons=("t7",))

`frame` reads the views. `blocks` groups rows that depend on each other, for intervals and p-values.
`accuracy`, `comparison`, `money` and `calibration` compute, the `tables` modules make text of it,
`pictures` draws. pandas takes a second to import: only these of them do it, and an empty report,
`lines`, `listing`, `method`, `records` and the tables do without.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market.evaluation.frame import outcomes_frame

__all__ = ["outcomes_frame"]


def __getattr__(name: str) -> Any:
    """Import `outcomes_frame` when it is asked for."""
    if name == "outcomes_frame":
        from market.evaluation import frame  # noqa: PLC0415 - pandas takes a second

        return frame.outcomes_frame
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
