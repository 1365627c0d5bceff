"""What is said of a Dockerfile that an engine refuses: where it is, and what to write instead.

The texts are those of Engine 20.10 (BuildKit 0.8) and 26.1 (0.13).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lumper.build.failure.explain import explain
from lumper.build.source.objects import Kind
from lumper.errors import BuildFailed, FrontendUnavailable

TWO = "FROM scratch AS build\nCOPY a /a\n\nFROM scratch\n"
NO_HOST = "lookup no.invalid on 10.0.0.53:53: no such host"


class Committed:
    """A commit that has only a Dockerfile."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def names(self, folder: str) -> Mapping[str, Kind]:
        return {}

    async def left_out_by(self, context: str, dockerfile: str, path: str) -> str:
        return ""

    async def dockerfile_text(self, context: str, dockerfile: str) -> bytes:
        return self._text.encode()


async def said(error: BuildFailed, text: str) -> tuple[str, str]:
    await explain(error, Committed(text), "app", "Dockerfile")
    return error.message, error.hint


@pytest.mark.parametrize(
    ("text", "message", "place", "hint"),
    [
        ("\nFROM ${X}\n", "base name (${X}) should not be blank.", "2: `FROM ${X}`", "write `ARG X=…` before"),
        ("ARG X\nFROM a\nFROM b:$X\n", 'failed to parse stage name "b:": invalid', "3: `FROM b:$X`", "X has no value"),
        ("FROM A:1\n", 'failed to parse stage name "A:1": … must be lowercase.', "1: `FROM A:1`", "in lower case"),
        (f"{TWO}COPY --from=5 /a /\n", "invalid stage index 5.", "5: `COPY --from=5", "counted from 0"),
        (
            "FROM a AS b\nCOPY --from=b /a /\n",
            "circular dependency detected on stage: b.",
            "2: `COPY --from=b",
            "cannot be built from itself",
        ),
        (
            f"{TWO}ARG S\nCOPY --from=$S /a /\n",
            'failed to parse stage name "$S": invalid reference format.',
            "6: `COPY --from=$S",
            "Write `FROM $S AS source` as a stage above",
        ),
        ("FROM a\nRUN --mount=type=cache b\n", 'invalid mount target "/".', "2: `RUN --mount", "target=/PATH"),
        ("FROM a\nRUN --mount=target=. b\n", 'invalid mount target "/".', "2: `RUN --mount=target=.", "WORKDIR above"),
        (
            "FROM --platform=linux/x/y/z a\n",
            'failed to parse platform linux/x/y/z: "linux/x/y/z": cannot parse: invalid argument.',
            "1: `FROM --platform",
            "such as linux/amd64",
        ),
    ],
)
async def test_what_is_wrong_before_the_first_step(text: str, message: str, place: str, hint: str) -> None:
    told, advice = await said(BuildFailed(f"The build failed: {message}"), text)
    assert told.startswith(f"app/Dockerfile, line {place}")
    assert told.endswith(f"` failed: {message}")
    assert hint in advice


async def test_the_line_that_the_engine_tells_counts_where_the_text_is_unknown() -> None:
    told, _ = await said(BuildFailed("The build failed: something new.", line=2), "FROM a\nCOPY a /b\n")
    assert told == "app/Dockerfile, line 2: `COPY a /b` failed: something new."


async def test_the_line_that_the_engine_tells_does_not_count_where_another_instruction_stands() -> None:
    step = "[2/9] RUN from a trigger of the base image"
    told, _ = await said(BuildFailed(f"Step `{step}` failed: no.", step=step, line=1), "FROM a\nCOPY a /b\n")
    assert told == f"Step `{step}` failed: no."


@pytest.mark.parametrize(
    ("text", "step", "words", "place", "hint"),
    [
        ("FROM a\nADD https://x/y /z\n", "https://x/y", f"step failed: {NO_HOST}.", 2, "cannot reach that server"),
        (
            "FROM a\nADD https://x/$Y /z\n",
            "https://x/y",
            "invalid response status 404.",
            2,
            "whether it is still there",
        ),
        (
            "FROM a\nADD --checksum=sha256:00 https://x/y /z\n",
            "[1/1] ADD https://x/y /z",
            "digest mismatch sha256:11: sha256:00.",
            2,
            "write its new --checksum",
        ),
        (
            "FROM a\nADD https://x/y.git#z /z\n",
            "https://x/y.git#z",
            "couldn't find remote ref z.",
            2,
            "branch, tag or commit behind `#`",
        ),
        ("FROM a\nADD git@x:y/z.git /z\n", "[1/1] ADD git@x:y/z.git /z", "not found.", 2, "[build] ssh = true"),
    ],
)
async def test_what_cannot_be_fetched(text: str, step: str, words: str, place: int, hint: str) -> None:
    told, advice = await said(BuildFailed(f"Step `{step}`: {words}", step=step), text)
    assert told.startswith(f"app/Dockerfile, line {place}: step `{step}`")
    assert hint in advice


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (
            "COPY --from=biuld /a /",
            "No stage is called biuld, so it is taken for an image. Did you mean build? The stag",
        ),
        ("RUN --mount=from=biuld,target=/x true", "Did you mean build?"),
        ("COPY --from=zzz /a /", "The stages above are build."),
        ("COPY --from=later /a /\nFROM a AS later", "The stage later has to stand above this line"),
        ("COPY --from=no.invalid/a /a /", "keep credentials"),
        ("FROM buidl", "did you mean build?"),
    ],
)
async def test_an_image_that_was_meant_to_be_a_stage(line: str, hint: str) -> None:
    name = line.partition("from=")[2].partition(" ")[0].partition(",")[0] or "buidl"
    image = name if "/" in name else f"docker.io/library/{name}:latest"
    error = BuildFailed(f"The base image {image} cannot be fetched: no.", step=f"FROM {image}", hint="keep credentials")
    told, advice = await said(error, f"{TWO}{line}\n")
    assert told.startswith("app/Dockerfile, line 5: the base image")
    assert hint in advice


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("COPPY a b", "unknown instruction: COPPY.", "Did you mean COPY?"),
        ("RUN a\n  echo b", "unknown instruction: ECHO.", "has to end with a backslash"),
        ("COPY --chwon=1 a b", "Unknown flag: chwon.", "Did you mean --chown?"),
        ("COPY --xyz a b", "unknown flag: --xyz.", "COPY knows --from, --chown"),
        ("RUN --mount=tarket=/x a", "unexpected key 'tarket' in 'tarket=/x'.", "Did you mean target?"),
        (
            "RUN --mount=type=cach a",
            'unsupported mount type "cach".',
            "Did you mean cache? The types of mounts are bind,",
        ),
        ("RUN --mount=sharing=no a", 'unsupported sharing value "no".', "shared, private, locked"),
        ("COPY <<EOF /a", "unterminated heredoc.", "stand alone in a line below"),
    ],
)
async def test_what_the_parser_refuses(text: str, message: str, hint: str) -> None:
    line = 2 + text.count("\n")
    told, advice = await said(BuildFailed(f"Dockerfile, line {line}: {message}"), f"FROM scratch\n{text}\n")
    assert told == f"app/Dockerfile, line {line}: {message}"
    assert hint in advice


async def test_a_file_of_another_stage_is_looked_for_there() -> None:
    step = "[stage-1 1/1] COPY --from=Build /b /"
    told, advice = await said(
        BuildFailed(f'Step `{step}` failed: "/b": not found.', step=step), f"{TWO}COPY --from=Build /b /\n"
    )
    assert told.startswith("app/Dockerfile, line 5: step")
    assert advice == "That is looked for in the stage build, and no step of it has made it there."


@pytest.mark.parametrize(
    ("taken", "place"), [("r.test/a/b:1", "the image r.test/a/b:1, which has no"), ("0", "the stage 0, and no step")]
)
async def test_a_file_of_an_image_or_a_numbered_stage_is_looked_for_there(taken: str, place: str) -> None:
    step = f"[stage-1 1/1] COPY --from={taken} /b /"
    _, advice = await said(
        BuildFailed(f'Step `{step}` failed: "/b": not found.', step=step), f"{TWO}COPY --from={taken} /b /\n"
    )
    assert f"That is looked for in {place}" in advice


async def test_nothing_is_known_of_a_first_line_that_is_no_instruction() -> None:
    told, advice = await said(BuildFailed("Dockerfile, line 1: unknown instruction: {{."), "{{ of a template }}\n")
    assert (told, advice) == ("app/Dockerfile, line 1: unknown instruction: {{.", "")


async def test_a_syntax_image_is_asked_for_in_a_line() -> None:
    error = FrontendUnavailable("The syntax image a/b:1 cannot be fetched: no.", step="resolve image config for a/b:1")
    told, advice = await said(error, "#!/bin/x\n# syntax=a/b:1\nFROM scratch\n")
    assert told == "app/Dockerfile, line 2: the syntax image a/b:1 cannot be fetched: no."
    assert "Remove that line" in advice
