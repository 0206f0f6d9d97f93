"""`python -m worker`: one file per command."""
