"""What is given in a file is one line of text; anything else is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumper.cli.line_file import line_of
from lumper.errors import Invalid


def test_the_line_end_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    assert line_of(tmp_path / "password", "password") == "correct horse"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"The token cannot be read from .*: No such file"),
        (b"\xff\xfe\x00", r"it is no text"),
        (b" \n", r"There is no token in "),
    ],
)
def test_what_holds_no_line_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(Invalid, match=words) as refused:
        line_of(tmp_path / "file", "token")
    assert refused.value.hint
