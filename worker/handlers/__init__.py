"""The handlers, one for each topic: the only modules that use both the queue and the market.

A handler does the work of its claims and ends them in the same transaction, guarded by their
leases. An event whose lease has passed to another worker is left unchanged and counted as lost.
"""
