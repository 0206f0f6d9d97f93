"""Daily bars: plan, fetch, validate, store; the ingestion audit; jobs, sync and cross-check.

Each step is a module, so that policy, network, grading and bookkeeping can be tested apart. The
network is never awaited inside a transaction.
"""
