"""Ids of cache mounts that only one namespace has, in the Dockerfile that buildah reads."""

from __future__ import annotations

import re

import pytest

from lumper.build.engines.buildah.cache_ids import GIVEN, with_own_ids
from lumper.errors import BuildRefused


def ids(dockerfile: str, namespace: str = "a") -> list[str]:
    """The ids that count, one for each cache mount."""
    made = with_own_ids(dockerfile.encode(), namespace).decode()
    return [re.findall(r"id=([^,\s]*)", mount)[-1] for mount in re.findall(r"--mount=type=cache\S*", made)]


def test_ids_are_names_without_a_path_and_differ_by_namespace() -> None:
    text = "FROM a\nRUN --mount=type=cache,id=../../etc,target=/x b\nRUN --mount=type=cache,target=/root/x b\n"
    assert all(re.fullmatch(r"lumper-[0-9a-f]{32}", name) for name in ids(text))
    assert len(set(ids(text, "a") + ids(text, "b"))) == 4
    assert ids(text) == ids(text)


def test_what_is_no_cache_mount_stays_as_it_is_on_its_line() -> None:
    text = (
        "# escape=`\n# note\nFROM a\nRUN --mount=type=secret,id=s `\n  # why\n  cat --x $A && `\n  b\nCOPY --from=c d e"
    )
    made = with_own_ids(text.encode(), "a").decode().split("\n")
    assert made[0] == "# escape=`"
    assert made[2] == "FROM a"
    assert made[6].split() == ["RUN", "--mount=type=secret,id=s", "cat", "--x", "$A", "&&", "b"]
    assert made[7] == "COPY --from=c d e"
    assert with_own_ids(b"FROM a\nRUN \\\n b\n", "a") == b"FROM a\nRUN \\\n b\n"


def test_here_documents_keep_their_lines() -> None:
    text = "FROM a\nRUN --mount=type=cache,target=/x <<E\n# kept\nFROM b \\\n--x\nE\nRUN c\n"
    made = with_own_ids(text.encode(), "a").decode()
    assert made.endswith("<<E\n# kept\nFROM b \\\n--x\nE\nRUN c\n")


@pytest.mark.parametrize(
    "line",
    [
        "RUN --mount=$M a",
        "RUN --$M a",
        'RUN --mount="type=cache",id=../x,target=/x a',
        "RUN --mount=type=bind,source=$M,target=/x a",
        "RUN --mount=type=cac\\he,target=/x a",
        "RUN --mount=type=cache,target=/x,$M a",
        "RUN --mount=type=bind,target=/x\u00a0--mount=type=cache,id=../x a",
        "ONBUILD RUN --mount=$M a",
        "RUN <<E\nRUN --mount=type=cache,id=../x,target=/x a\nE",
    ],
)
def test_options_that_are_hidden_are_refused(line: str) -> None:
    with pytest.raises(BuildRefused):
        with_own_ids(f"FROM a\n{line}\n".encode(), "a")


def test_an_id_may_have_variables_and_onbuild_has_ids_too() -> None:
    assert (
        len(
            set(
                ids("FROM a\nRUN --mount=type=cache,id=go-$A,target=/x b\nONBUILD RUN --mount=type=cache,target=/x b\n")
            )
        )
        == 2
    )


def test_the_name_of_a_step_can_be_told_without_the_id() -> None:
    text = "RUN --mount=type=cache,target=/x b"
    assert GIVEN.sub("", with_own_ids(text.encode(), "a").decode()) == text
