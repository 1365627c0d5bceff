from __future__ import annotations

import pytest

from lumper.build.engines.buildah.errors import build_error
from lumper.errors import BuildFailed
from lumper.model.builds.build import Step, StepState

RUN = Step(3, "[3/3] RUN make", StepState.RUNNING, 0.0)
FROM = Step(1, "[1/2] FROM --platform=linux/amd64 registry.invalid/app:1 AS x", StepState.RUNNING, 0.0)


def error(text: str, step: Step = RUN, trouble: str = "", content: str = "FROM scratch\n") -> BuildFailed:
    made = build_error(text, step, trouble, "Dockerfile", content)
    assert isinstance(made, BuildFailed)
    return made


@pytest.mark.parametrize("why", ["while running runtime: exit status 42", "exit status 42"])
def test_a_program_that_fails_is_told_with_its_code(why: str) -> None:
    made = error(f'building at STEP "RUN make": {why}')

    assert made.message == "Step `[3/3] RUN make` ended with exit code 42."
    assert (made.step, made.exit_code) == ("[3/3] RUN make", 42)


def test_a_program_that_was_killed_is_not_taken_for_one_that_failed() -> None:
    assert "signal: killed" in error('building at STEP "RUN make": while running runtime: signal: killed').message
    assert "memory" in error('building at STEP "RUN make": while running runtime: exit status 137').hint


def test_a_program_that_is_not_there_has_no_code() -> None:
    made = error('building at STEP "RUN make": while running runtime: exit status 1', trouble='exec: "make": not found')

    assert made.message == 'Step `[3/3] RUN make` could not be started: exec: "make": not found.'
    assert made.exit_code is None


def test_an_unknown_instruction_is_told_with_its_line() -> None:
    text = 'building at STEP "FOO ": Build error: Unknown instruction: "FOO" &imagebuilder.Step{Env:[]string{}}'

    made = error(text, content="FROM scratch\n# FOO\n  foo bar\n")
    assert (made.message, made.step) == ("Dockerfile, line 3: unknown instruction: FOO.", "")
    assert "1.33" in error(text, content="FROM scratch\nRUN <<EOF\nfoo bar\nEOF\n").hint


@pytest.mark.parametrize("text", ['no contents in "/x/Dockerfile"', "building: no stages to build"])
def test_an_empty_dockerfile_is_called_empty(text: str) -> None:
    assert error(text).message == "Dockerfile is empty."


def test_a_base_image_is_named_and_the_rooms_of_buildah_are_not() -> None:
    get = 'Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid on 10.0.0.1:53: no such host'
    source = "docker://registry.invalid/app:1: pinging container registry registry.invalid"
    made = error(f"creating build container: initializing source {source}: {get}", FROM)

    assert made.message == (
        "The base image registry.invalid/app:1 cannot be fetched: lookup registry.invalid on 10.0.0.1:53: no such host."
    )
    assert "registries.conf" in made.hint
    full = error("creating build container: writing blob: no space left on device", FROM)
    assert "Free some space" in full.hint


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (
            'checking on sources under "/w/context": copier: stat: "/a b": no such file or directory',
            '"/a b" was not found',
        ),
        ("resolving mountpoints: secret required but no secret with id token found", "the secret token was not found"),
        ("something new", "something new."),
    ],
)
def test_what_a_step_lacks_is_said_without_folders_of_the_worker(why: str, words: str) -> None:
    made = error(f'building at STEP "RUN make": {why}')

    assert made.message.startswith("Step `[3/3] RUN make` failed: ")
    assert words in made.message
    assert "/w/context" not in made.message


def test_a_panic_of_buildah_is_called_so() -> None:
    step = Step(3, "[3/3] RUN --mount=type=secret,id=t,required x", StepState.RUNNING, 0.0)
    made = error("panic: runtime error: index out of range [1] with length 1", step)

    assert "buildah itself" in made.message
    assert "required=true" in made.hint


def test_a_link_to_nothing_is_told_whenever_buildah_s_helper_ended_and_without_a_path_of_the_worker() -> None:
    place = "/data/buildah/work/1f/context/folder/up"
    why = f'reading "{place}": error encoding request for copier subprocess: write |1: broken pipe'
    made = error(
        f'building at STEP "COPY folder/up /copied": {why}',
        Step(3, "[3/3] COPY folder/up /copied", StepState.RUNNING, 0.0),
    )

    assert made.message == (
        "Step `[3/3] COPY folder/up /copied` failed: folder/up was not found, or leads out of the context."
    )
