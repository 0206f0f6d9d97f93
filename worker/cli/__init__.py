"""The commands of `python -m worker`: one file for each group, without anything that they compute.

Only this package of the worker knows typer, rich and exit codes. Each command calls a function of
`worker/queue`, `worker/sweep.py` or `sql/schema`, which any other front end can call.
"""
