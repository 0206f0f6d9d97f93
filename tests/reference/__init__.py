"""The pages of docs/ that are made from the code: settings, commands, SQL.

`./dev docs` writes them (`python -m tests.reference --write`) and `./dev lint` fails when one is
stale. This package stands beside the tests because it reads all three floors at once: no module of
the product may import both command lines, and the product needs no generator.
"""
