"""What the market does with the events of each topic: the only place where queue and market meet.

A handler does the work of its claims and ends them in the same transaction, guarded by their
leases: an event whose lease has passed to another worker is left alone and counted as lost.
"""
