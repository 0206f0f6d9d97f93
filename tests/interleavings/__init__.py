"""Every order of steps: real backends, one statement at a time, and what must hold in the end.

`scheduler` decides whose turn it is, `statements` makes each statement of psycopg wait for its turn,
`orders` chooses and shrinks, `workers` and `actors` are who takes part, `scenes` puts them together,
`invariants` says what must hold, and `explore` runs orders. docs/testing.md shows how to use them.
"""
