"""Daily bars: plan, fetch, validate, store; the record of each fetch; sync and cross-check."""
