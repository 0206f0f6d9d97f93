"""What a test looks for in text that goes to a terminal."""

import unicodedata

# Unicode's controls, formats, surrogates, private and unassigned ones, and ends of lines.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_UNSEEN = "\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0041\U000e0100"


def hostile(text: str, keep: str = "") -> list[str]:
    """The characters that must not be there."""
    return [
        letter
        for letter in text
        if letter not in keep and (unicodedata.category(letter) in _HIDDEN or letter in _UNSEEN)
    ]
