"""The queue: the outbox's verbs, the claim cursor, and the lanes that work on claimed events.

An operator's verbs are here too: enqueue, requeue, explain, status. The SQL is
`sql/functions/3*.sql`.
"""
