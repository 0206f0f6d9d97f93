"""The ground floor: the schema, its functions, and the way to the database.

Everything that moves a prediction is SQL in `migrations/` and `functions/`; the modules
here connect (`database`), run a private server (`embedded`) and apply the files (`migrate`).
Nothing on this floor imports from `market` or `worker`.
"""
