"""The outbox's verbs, the claim cursor and the lanes that work on claimed events."""
