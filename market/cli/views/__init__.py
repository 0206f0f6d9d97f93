"""What the screens of `python -m market` say of their rows: pure, a `View` from the rows.

A sentence that answers, the columns by rank, what needs attention first, and the next command. The
rows themselves are those of `--json`.
"""
