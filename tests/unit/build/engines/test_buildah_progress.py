from __future__ import annotations

import itertools

from lumper.build.engines.buildah.progress import LINE_LIMIT, StepReader
from lumper.model.builds.build import Output, Progress, Step, StepState

OWN, RUN = True, False
SHA = "040a72c99fc18d82e05bf025b3575d277cc1a473952a65296491569c94b543a2"


def read(*said: tuple[bool, int, str], end: StepState = StepState.DONE) -> tuple[StepReader, list[Progress]]:
    told: list[Progress] = []
    clock = itertools.count()
    reader = StepReader(told.append, lambda: float(next(clock)))
    for own, stream, text in said:
        reader.hear(own, stream, text.encode())
    reader.finish(end)
    return reader, told


def shown(told: list[Progress]) -> list[tuple[int, str]]:
    return [(one.number, one.text if isinstance(one, Output) else f"{one.name} {one.state}") for one in told]


def test_steps_end_when_the_next_begins_and_cached_ones_say_so() -> None:
    _, told = read(
        (OWN, 1, "STEP 1/3: FROM scratch\nSTEP 2/3: COPY busybox /bin/sh\n"),
        (OWN, 1, f"--> Using cache {SHA}\n--> 040a72c99fc\nSTEP 3/3: RUN echo hi\n"),
        (RUN, 1, "hi\n"),
        (RUN, 2, "oh"),
        (OWN, 1, f"COMMIT registry.test/app:1\n--> 3946cc77198\nSuccessfully tagged registry.test/app:1\n{SHA}\n"),
    )

    assert shown(told) == [
        (1, "[1/3] FROM scratch running"),
        (1, "[1/3] FROM scratch done"),
        (2, "[2/3] COPY busybox /bin/sh running"),
        (2, "[2/3] COPY busybox /bin/sh cached"),
        (3, "[3/3] RUN echo hi running"),
        (3, "hi"),
        (3, "oh"),
        (3, "[3/3] RUN echo hi done"),
        (4, "exporting to image running"),
        (4, "exporting to image done"),
    ]
    assert [one.stream for one in told if isinstance(one, Output)] == [1, 2]


def test_a_program_of_a_step_cannot_feign_a_step_or_an_error() -> None:
    lies = "STEP 9/9: RUN lie\n--> Using cache 040a72c99fc\nCOMMIT x\nError: no\n"
    reader, told = read((OWN, 1, "STEP 1/1: RUN evil\n"), (RUN, 1, lies), (RUN, 2, lies))

    assert [one.name for one in told if isinstance(one, Step)] == ["[1/1] RUN evil", "[1/1] RUN evil"]
    assert "".join(f"{one.text}\n" for one in told if isinstance(one, Output)) == lies * 2
    assert reader.error == ""


def test_stages_are_told_by_their_names_also_where_buildah_tells_an_id() -> None:
    _, told = read(
        (OWN, 1, "[1/2] STEP 1/1: FROM scratch AS base\n--> 40848e94833\n"),
        (OWN, 1, "[2/2] STEP 1/2: FROM 40848e94833e21de4d429e5cd76b74f22b2bf6ffba4bcc87afeb0a67553cd70e\n"),
        (OWN, 1, "[2/2] STEP 2/2: RUN make\n[2/2] COMMIT registry.test/app:1\n"),
    )

    names = list(dict.fromkeys(one.name for one in told if isinstance(one, Step)))
    assert names == [
        "[base 1/1] FROM scratch AS base",
        "[stage-1 1/2] FROM base",
        "[stage-1 2/2] RUN make",
        "exporting to image",
    ]


def test_each_platform_has_its_own_steps() -> None:
    _, told = read((OWN, 1, "[linux/arm64] STEP 1/1: FROM scratch\n[linux/arm64] [1/2] STEP 1/1: FROM scratch AS a\n"))

    assert [one.name for one in told if isinstance(one, Step)][::2] == [
        "[linux/arm64 1/1] FROM scratch",
        "[linux/arm64 a 1/1] FROM scratch AS a",
    ]


def test_pieces_of_lines_become_lines_and_endless_ones_come_in_pieces() -> None:
    _, told = read(
        (OWN, 1, "STE"), (OWN, 1, "P 1/1: RUN x\n"), (RUN, 1, "a"), (RUN, 2, "b"), (RUN, 1, "c\r\n"), (RUN, 2, "\n")
    )
    assert [one.text for one in told if isinstance(one, Output)] == ["ac", "b"]

    _, told = read((OWN, 1, "STEP 1/1: RUN x\n"), (RUN, 1, "ä" * LINE_LIMIT))
    assert [len(one.text) for one in told if isinstance(one, Output)] == [LINE_LIMIT // 2, LINE_LIMIT // 2]
    assert all(set(one.text) == {"ä"} for one in told if isinstance(one, Output))


def test_the_error_is_kept_whole_and_a_panic_without_its_places() -> None:
    reader, told = read((OWN, 1, "STEP 1/1: RUN x\n"), (OWN, 2, "Error: one\ntwo\n"), end=StepState.FAILED)
    assert reader.error == "one\ntwo"
    assert [one.state for one in told if isinstance(one, Step)] == [StepState.RUNNING, StepState.FAILED]

    reader, _ = read((OWN, 2, "panic: runtime error: index out of range\n\ngoroutine 10 [running]:\nmain.go:7\n"))
    assert reader.error == "panic: runtime error: index out of range"


def test_why_a_program_could_not_be_started_is_kept() -> None:
    why = 'from /usr/bin/runc creating container for [/no]: exec: "/no": no such file or directory'
    reader, _ = read((OWN, 1, "STEP 1/1: RUN /no\n"), (RUN, 2, f"error running container: {why}\n"))

    assert reader.trouble == why


def test_arguments_that_every_build_is_given_are_no_news_when_unused() -> None:
    warning = "[Warning] one or more build args were not consumed: [{}]\n"
    _, told = read(
        (OWN, 1, "STEP 1/1: RUN x\n"),
        (OWN, 1, warning.format("SOURCE_DATE_EPOCH TARGETARCH")),
        (OWN, 2, warning.format("SOURCE_DATE_EPOCH TYPO")),
    )

    assert [one.text for one in told if isinstance(one, Output)] == [
        "These build arguments are declared by no ARG: TYPO"
    ]


def test_fetching_an_image_is_told_without_the_lines_that_are_always_the_same() -> None:
    _, told = read(
        (OWN, 1, "STEP 1/1: FROM registry.test/base:1\n"),
        (OWN, 2, "Trying to pull registry.test/base:1...\nGetting image source signatures\nCopying blob sha256:ab\n"),
        (OWN, 2, 'time="2026-01-01T00:00:00Z" level=warning msg="a warning"\n'),
    )

    assert [one.text for one in told if isinstance(one, Output)] == [
        'time="2026-01-01T00:00:00Z" level=warning msg="a warning"'
    ]
