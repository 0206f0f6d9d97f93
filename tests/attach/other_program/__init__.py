"""The other program: it shares no code with the product or with its tests."""
