from __future__ import annotations

import pytest

from lumper.config.toml_lines import locate
from parts.suite.pace import takes_less_than

TEXT = (
    '''\
# [no] table
top = """
[build]
args = 1
"""
[build]  # the real one
"quoted \\u0041.b" . 'c' = [
    1, # one
    "two]",
    { x = 1, y.z = [
        3 ] },
    [4,
     5],
]
args = { A = "1", B = """
""", C = 'it''s' }
after = 1979-05-27 07:32:00

[deploy.health]
last = '''
    + "'''a\n'b'''''"
    + """
end = 1
"""
)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("top", 2),
        ("build", 6),
        ("build|quoted A.b|c", 7),
        ("build|quoted A.b|c|0", 8),
        ("build|quoted A.b|c|1", 9),
        ("build|quoted A.b|c|2|x", 10),
        ("build|quoted A.b|c|2|y|z|0", 11),
        ("build|quoted A.b|c|3|1", 13),
        ("build|quoted A.b|c|3|7", 12),
        ("build|args|A", 15),
        ("build|args|B", 15),
        ("build|nothing", 6),
        ("deploy", 19),
        ("deploy|health|end", 22),
        ("nothing", 1),
    ],
)
def test_values_are_found_wherever_toml_lets_them_stand(keys: str, line: int) -> None:
    assert locate(TEXT.replace("'it''s'", "'its'"), keys.split("|")) == line


@pytest.mark.parametrize("text", ["[", "a", "a =", "a = [", "a = {b", "]", "a = [1 2]", "\0", "= 1", 'a = "'])
def test_a_text_that_is_not_toml_gives_a_line_and_no_error(text: str) -> None:
    assert locate(text, ["a", "b"]) == 1


def test_an_empty_text_has_no_line() -> None:
    assert locate("", ["a"]) == 0


def test_many_questions_about_a_long_text_are_answered_at_once() -> None:
    text = "".join(f"key{number} = [\n1,\n]\n" for number in range(3000))
    with takes_less_than(5):
        assert [locate(text, [f"key{number}", "0"]) for number in range(3000)] == [3 * n + 2 for n in range(3000)]
