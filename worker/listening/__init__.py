"""Sleeping until notified: the doorbell, its echo, and idle suspend.

A worker that sleeps costs the database nothing, and a notification wakes it within milliseconds.
"""
