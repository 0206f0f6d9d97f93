"""The schema: applying it, recording it, comparing it, repairing it, taking it out."""
