"""Whether a column of another program holds what we write: the types that we accept."""

import re

from sql.schema.catalogue import Item

# Times that others keep without a zone; we write UTC into them.
_TIMES = {"created_at", "updated_at", "last_price_update", "last_updated", "post_timestamp"}
_TEXTS = re.compile(r"(?:character varying|text)(?:\((\d+)\))?")
_ALSO = {"integer": {"bigint"}, "jsonb": {"json"}}
# Types of the id of a prediction, by size.
IDS = {"smallint": 2, "integer": 4, "bigint": 8}
# Lengths of our values, where they are shorter than the column that `migrate` makes.
_LENGTHS = {"exchange": 20}


def fits(item: Item, have: str) -> bool:
    """Whether a column of this type accepts all values that we write and gives those that we read."""
    want = item.detail["type"]
    if want == have or have in _ALSO.get(want, ()):
        return True
    if item.name == "prediction_id" or (item.parent, item.name) == ("predictions", "id"):
        return have in IDS
    if item.name in _TIMES and have == "timestamp without time zone":
        return True
    wanted, given = _TEXTS.fullmatch(want), _TEXTS.fullmatch(have)
    if wanted is None or given is None:
        return False
    length = _LENGTHS.get(item.name, wanted[1])
    return given[1] is None or (length is not None and int(given[1]) >= int(length))
