"""Sleeping until notified: the doorbell, its echo, and idle suspend."""
