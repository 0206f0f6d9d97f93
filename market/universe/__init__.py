"""Which symbols there are: registry, spelling, sessions, lists."""
