"""Did the predictions come true? The numbers of reports, and the frame that they are made from.

    from market.evaluation import outcomes_frame
    with psycopg.connect(url) as conn:
        frame = outcomes_frame(conn, horizons=("t7",))

`frame` reads the views. `blocks` groups rows that depend on each other, for intervals and p-values.
`accuracy` and `calibration` compute, the `tables` modules make text of it, `pictures` draws. It
imports pandas, so that only the commands that need it import this package.
"""

from market.evaluation.frame import outcomes_frame

__all__ = ["outcomes_frame"]
