"""What a terminal would leave to be read of what programs print, without anything that it would obey. Pure.

Source: ECMA-48, sections 5.4 and 8.3.117 (colours); xterm, "Control Sequences".
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)([0-?]*)([ -/]*)([@-~])"  # CSI: colours, cursor, clearing
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC and other strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]")  # tabs stay
# They would make a line read otherwise than it is (CVE-2021-42574), or cannot be written.
_MISLEADING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CHOSEN = re.compile(r"[345]8[;:](?:5[;:]\d{1,3}|2(?:[;:]\d{0,3}){3,4})")  # a colour of the palette, or a mixed one
_REFUSED = {5, 6, 8}  # blinking, and what is not to be seen
_LONGEST_COLOUR = 64
_PLAIN = "\x1b[0m"


def visible(text: str, *, colours: bool = False) -> str:
    """One line as it can be read: what a bare CR has overwritten is gone, and so are all sequences but `colours`.

    >>> visible("10%\\r\\x1b[32m100%\\x1b[0m\\x1b]0;title\\x07")
    '100%'
    """
    if text.isprintable():
        return text
    parts, at, coloured = [], 0, False
    text = _last_state(text)
    for match in _SEQUENCES.finditer(text):
        parts.append(_without_controls(text[at : match.start()]))
        at = match.end()
        if colours and _is_colour(match):
            parts.append(f"\x1b[{match[1]}m")
            coloured = True
    parts.append(_without_controls(text[at:]))
    return "".join(parts) + (_PLAIN if coloured else "")


def _last_state(text: str) -> str:
    """What stands in the line at last: a CR goes back to its beginning, as progress bars do."""
    states = reversed(text.split("\r"))
    return next((state for state in states if _CONTROLS.sub("", _SEQUENCES.sub("", state))), "")


def _without_controls(text: str) -> str:
    return _MISLEADING.sub("\ufffd", _CONTROLS.sub("", text))


def _is_colour(match: re.Match[str]) -> bool:
    """Whether the sequence changes no more than how the text behind it looks."""
    parameters = match[1]
    if match[3] != "m" or match[2] or len(parameters) > _LONGEST_COLOUR or not re.fullmatch(r"[0-9;:]*", parameters):
        return False
    codes = _CHOSEN.sub("", parameters)
    return _REFUSED.isdisjoint(int(code) for code in re.split("[;:]", codes) if code)
