"""How rows become a screen or a file: the one place of all tables of both command lines.

A command hands over rows as `--json` prints them and a `View`, which says what answers first. The
modules below each have one job: `view` the words for it, `cells` a value as text, `layout` which
columns fit, `screen` the drawing, `formats` the outputs for programs, `options` what was asked for.
"""

from market.cli.display.emit import draws, emit, emit_json, emit_tables
from market.cli.display.view import Change, Column, View, changed

__all__ = ["Change", "Column", "View", "changed", "draws", "emit", "emit_json", "emit_tables"]
