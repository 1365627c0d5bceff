"""What Lumper itself reads in a Dockerfile."""

from __future__ import annotations

import pytest

from lumper.build.context.dockerfile import copied, has_stage, instructions, stage_names
from lumper.build.syntax import newer_syntax


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch",
        "from scratch\n",
        "\ufeff# comment\n\n  \t FROM scratch\n",
        "ARG A=1\nARG B\nFROM $A\n",
        "ARG A=1\\\n# comment\n\n 2\nFROM x",
        "# escape=`\nARG A=C:\\\nFROM x\nRUN y\n",
        "RUN x",  # the engine says what is wrong with it
        "FORM x",
        "FROM",
        "ARG A=1\r\nFROM x\r\n",
    ],
)
def test_there_is_a_stage_or_something_that_the_engine_complains_of(text: str) -> None:
    assert has_stage(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "# FROM x\n",
        "ARG A=1",
        "ARG A=1\n#FROM x\n",
        "ARG A=1 \\\nFROM x\n",
        "ARG A=1 \\ \t\r\n\nFROM x\n",
        "# escape=`\nARG A=1 `\nFROM x\n",
        "# syntax=docker/dockerfile:1\n# escape = `\nARG A=1 `\nFROM x\n",
        "ARG A=1 `\nFROM x\n",
        "arg a\nArg b\n",
    ],
)
def test_where_nothing_is_left_but_arguments_there_is_none(text: str) -> None:
    assert not has_stage(text.encode())


def test_stages_have_names() -> None:
    text = b"FROM a AS one\nRUN \\\nFROM b AS no\nFROM --platform=$X c \\\n as Two\nFROM d\n# FROM e AS f\n"
    assert stage_names(text) == ["one", "Two"]
    assert stage_names(b"# escape=`\nFROM a `\nAS one\n") == ["one"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nRUN <<E\nRUN x\nE\nRUN y", [(1, "FROM a"), (2, "RUN <<E"), (5, "RUN y")]),
        ("COPY <<A <<-'B' /to/\nRUN 1\nA\n\tRUN 2\n\tB\nRUN y", [(1, "COPY <<A <<-'B' /to/"), (6, "RUN y")]),
        ("RUN cat 3<<E\r\nRUN x\r\nE\r\nRUN y", [(1, "RUN cat 3<<E"), (4, "RUN y")]),
        ('RUN cat <<<E\nRUN "<<E"\nRUN $((1 <<2))\nENV A=<<E\nRUN y', [(n, "") for n in range(1, 6)]),
        ("\n# no\nRUN a \\\n\n# no\n  b\nRUN y", [(3, "RUN a   b"), (7, "RUN y")]),
        ("# escape=`\nRUN a `\n b\nRUN y\\", [(2, "RUN a  b"), (4, "RUN y\\")]),
    ],
)
def test_instructions_and_where_they_begin(text: str, found: list[tuple[int, str]]) -> None:
    told = [(one.line, one.text.decode()) for one in instructions(text.encode())]
    assert [(line, words if wanted else "") for (line, words), (_, wanted) in zip(told, found, strict=True)] == found


ASKED = "# syntax=docker/dockerfile:1\n"


@pytest.mark.parametrize(
    ("message", "text", "words"),
    [
        ("Dockerfile, line 2: unknown flag: parents.", "FROM a\nCOPY --parents b c\n", "`parents` needs `# syntax="),
        ("line 2: unknown flag: checksum", "FROM a\nADD --checksum=x b c\n", "`checksum` needs Docker Engine 25"),
        ("line 3: unknown instruction: set", "FROM a\nRUN <<E\nset\nE\n", "(`<<`) need Docker Engine 23"),
        ("line 3: unknown instruction: set", ASKED + "FROM a\nRUN <<E\nset\nE\n", ""),
        ("line 4: unknown flag: link", ASKED + "FROM a\nCOPY --link a b\n", "or that the engine can"),
        ("line 4: unknown flag: device", "FROM a\nRUN --device=x y\n", "`device` needs `# syntax=docker/dockerf"),
        ("The build failed: unexpected key 'env' in 'env=A'", "FROM a\n", "`env` needs Docker Engine 28"),
        ("line 2: unknown instruction: COPPY", "FROM a\nCOPPY a b\n", ""),
    ],
)  # fmt: skip
def test_what_needs_a_newer_reader_is_told_with_the_engine_that_has_it(message: str, text: str, words: str) -> None:
    hint = newer_syntax(message, text.encode())
    assert words in hint
    assert bool(hint) == bool(words)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("FROM a\nRUN x\nCMD y", []),
        ("COPY a b /to\nadd --chown=1:2 \\\n  c d/", ["a", "b", "c"]),
        ('COPY ["a b", "c", "/to/"]', ["a b", "c"]),
        ("COPY . .", ["."]),
        ("COPY package*.json ./", ["package*.json"]),
        ("COPY --from=build /x /y\nCOPY --link --from=b x y", []),
        ("COPY $WHAT /to\nCOPY a${B}/c /to", [".", "."]),
        ("COPY [broken /to", ["."]),
        ("COPY <<A b /to\nCOPY no /no\nA\n", ["b"]),
        ("RUN --mount=type=bind,target=/src make\nRUN --mount=target=/x,source=go.mod y", [".", "go.mod"]),
        ("RUN --mount=type=bind,from=a,target=/x --mount=type=cache,target=/y z\nRUN --mount=src=s x", ["s"]),
        ("RUN --mount=type=secret,id=x --network=none cat COPY . /", []),
        ("COPY", []),
    ],
)
def test_the_paths_of_the_context_that_are_copied_are_known(text: str, paths: list[str]) -> None:
    assert copied(text.encode()) == paths
