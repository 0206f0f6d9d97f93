"""The commands of `python -m market`: one file for each group, and what they share (`console`).

Only this package of the market knows typer, rich and exit codes. A command turns options into a
call of a room below, and its result into a table or a document.
"""
