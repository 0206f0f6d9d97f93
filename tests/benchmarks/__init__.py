"""How fast it is, side by side with what one would otherwise use; see README.md here."""
