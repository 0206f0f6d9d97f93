"""Did the predictions come true? The numbers of reports, and the frame that they are made from.

    from market.evaluation import outcomes_frame
    with psycopg.connect(url) as conn:
        frame = outcomes_frame(conn, horizons=("t7",))

`frame` reads the views, `blocks` knows which rows depend on each other and what follows for
intervals and p-values, `accuracy` and `calibration` compute, the `tables` say it in words, `show` and `pictures`
draw. Imports pandas; commands that need none of it do not import this package.
"""

from market.evaluation.frame import outcomes_frame

__all__ = ["outcomes_frame"]
