"""What `lumper build` says to the mistakes that people make most, with a real engine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lumper.cli.main import main
from parts.engines.engine_bench import Daemons

pytestmark = pytest.mark.docker

Fails = Callable[..., str]


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Commits files, builds them, and gives the error that it ends with; files of `lying` are not committed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "mistaken"

    def build(files: dict[str, str], lying: tuple[str, ...] = ()) -> str:
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        git(root, "init", "-q", "-b", "main")
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", "first")
        for name in lying:
            (root / name).write_text("not committed")
        with pytest.raises(SystemExit) as ended:
            main(["build", str(root)])
        assert ended.value.code == 1
        said = capsys.readouterr().err
        return " ".join(said[said.rindex("lumper: ") :].split())

    return build


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"docker/Dockerfile": "FROM scratch\n"}, "There is docker/Dockerfile: name it in lumper.toml: [build]"),
        ({"Dockerfle": "x", "Dockerfile.dev": "FROM scratch\n"}, "There is Dockerfile.dev"),
        ({"lumper.toml": '[build]\ncontext = "srv"\n', "src/Dockerfile": "FROM scratch\n"}, "There is src."),
        (
            {"lumper.toml": '[build]\ntarget = "prd"\n', "Dockerfile": "FROM scratch AS prod\nFROM scratch AS dev\n"},
            "Did you mean prod? Its stages are prod, dev.",
        ),
        (
            {"Dockerfile": "FROM scratch\nCOPY conf/app.yml /x\n", "conf/app.yml": "1", ".dockerignore": "conf\n"},
            "conf/app.yml is in the repository, and the line `conf` of .dockerignore leaves it out.",
        ),
        ({"Dockerfile": "FROM scratch\nCOPY conf/ap.yml /x\n", "conf/app.yml": "1"}, "There is conf/app.yml."),
        ({"Dockerfile": "FROM scratch\nCOPY readme.md /x\n", "README.md": "1"}, "There is README.md."),
        ({"Dockerfile": "FROM scratch\nCOPY .git/HEAD /x\n"}, "without .git"),
        (
            {
                "lumper.toml": '[build]\ncontext = "app"\n',
                "app/Dockerfile": "FROM scratch\nCOPY shared/a /x\n",
                "shared/a": "1",
            },
            "shared/a is in the repository, but not in the context app.",
        ),
        (
            {
                "lumper.toml": '[build]\ndockerfile = "web/Dockerfile"\n',
                "web/Dockerfile": "FROM scratch\nCOPY conf/a /x\n",
                "web/conf/a": "1",
            },
            "There is web/conf/a, beside the Dockerfile: name it so, or make that folder the context of the build.",
        ),
        ({"Dockerfile": "# FROM scratch\nARG A\n"}, "Dockerfile has no FROM"),
        (
            {
                "lumper.toml": '[build]\ndockerfile = "d/Dockerfile"\n',
                "d/Dockerfile": """FROM scratch AS a\nENV A=a\n\nCOPY d / \nFROM a\nRUN ["/none"]\n""",
            },
            "d/Dockerfile, line 6: step `[stage-1 1/1] RUN",
        ),
        (
            {"Dockerfile": "ARG A=b\nFROM scratch\nARG A=c\n\nCOPY Dockerfile \\\n  $A /x\n"},
            "Dockerfile, line 5: step `[1/1] COPY",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_error_says_what_was_meant(files: dict[str, str], words: str, fails: Fails) -> None:
    assert words in fails(files)


@pytest.mark.parametrize(
    "files",
    [
        {"Dockerfile": "FROM scratch\nCOPY lib/x.c /x\n"},
        {"lumper.toml": '[build]\ncontext = "lib"\n'},
        {"lumper.toml": '[build]\ncontext = "lib/src"\n'},
        {"lumper.toml": '[build]\ndockerfile = "lib/Dockerfile"\n'},
    ],
)
def test_what_lies_in_a_submodule_that_was_not_fetched_is_told(
    files: dict[str, str], tmp_path: Path, fails: Fails
) -> None:
    root = tmp_path / "mistaken"
    (root / "lib").mkdir(parents=True)
    (root / "lib/x.c").write_text("x")
    git(root / "lib", "init", "-q")
    git(root / "lib", "add", ".")
    git(root / "lib", "commit", "-q", "-m", "x")
    assert "lib is a submodule, and empty: set [source] submodules = true in lumper.toml" in fails(files)


def test_a_file_that_is_not_committed_is_told_apart(fails: Fails) -> None:
    said = fails({"Dockerfile": "FROM scratch\nCOPY made /x\n"}, lying=("made",))
    assert "made lies in the folder, but is not committed" in said


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"Dockerfile": "FROM scratch\n\n# x\nCOPY no /x\n"}, "Dockerfile, line 4: step `[1/1] COPY no /x` failed"),
        (
            {"Dockerfile": "ARG A\nFROM no.invalid/x:2\n"},
            "Dockerfile, line 2: the base image no.invalid/x:2 cannot be fetched",
        ),
        (
            {"Dockerfile": "FROM scratch AS one\nFROM scratch\nCOPY --from=one /a/b /x\n"},
            'Dockerfile, line 3: step `[stage-1 1/1] COPY --from=one /a/b /x` failed: "/a/b": not found.',
        ),
        (
            {"lumper.toml": '[build]\ncontext = "app"\n', "app/Dockerfile": "FROM scratch\nNO\n"},
            "app/Dockerfile, line 2: unknown instruction: NO",
        ),
        (
            {"Dockerfile": f"FROM scratch\nCOPY a \\\n  {'x' * 300} /x/\n", "a": ""},
            f"Dockerfile, line 2: step `[1/1] COPY a {'x' * 147}…` failed:",
        ),
    ],
    ids=["a step", "a base", "another stage", "not an instruction", "a long one"],
)  # fmt: skip
def test_the_error_says_in_which_line_of_which_dockerfile_it_is(
    files: dict[str, str], words: str, fails: Fails
) -> None:
    assert words in fails(files)


@pytest.mark.parametrize("engine", ["older", "newer"])
@pytest.mark.parametrize(
    ("dockerfile", "place", "hint"),
    [
        ("FROM scratch\n\nFROM ${BASE}\n", "3: `FROM ${BASE}` failed: base name", "write `ARG BASE=…` before"),
        ("ARG TAG\nFROM debian:${TAG}\n", "2: `FROM debian:${TAG}` failed:", "TAG has no value: give its ARG one"),
        ("FROM scratch\nADD https://no.invalid/${X}a /x\n", "2: step `", "cannot reach that server"),
        ("FROM scratch\nADD https://no.invalid/a/b.git#v1 /x\n", "2: step `", "cannot reach that server"),
        (
            "FROM scratch AS build\nCOPY a /\nFROM scratch\nCOPY --from=biuld /a /\n",
            "4: the base image",
            "Did you mean build?",
        ),
        ("FROM --platform=linux/a/b/c scratch\nCOPY a /\n", "1: `FROM --platform=linux/a/b/c", "linux/amd64"),
        ("FROM scratch\nCOPPY a /\n", "2: unknown instruction: COPPY", "id you mean COPY?"),
        ("FROM scratch\nRUN --mount=type=cach,target=/x a\n", "2: ", "id you mean cache?"),
        ("FROM scratch\nRUN --mount=type=cache a\n", '2: `RUN --mount=type=cache a` failed:', "target=/PATH"),
        ("FROM scratch\nCOPY ../up /\n", "2: step `[1/1] COPY ../up /` failed:", "../up is outside of the repository"),
    ],
)  # fmt: skip
def test_each_engine_s_refusal_has_its_line_and_what_to_do(
    dockerfile: str, place: str, hint: str, engine: str, fails: Fails, daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "newer":
        monkeypatch.setenv("LUMPER_WORKER_ENGINE", f"unix://{daemons.newer_engine()}")
    said = fails({"Dockerfile": dockerfile, "a": ""})
    assert f"Dockerfile, line {place}" in said
    assert hint in said


def test_a_syntax_image_that_is_not_trusted_is_told_with_its_line(fails: Fails) -> None:
    said = fails({"Dockerfile": "# escape=`\n# syntax=no.invalid/evil\nFROM scratch\n"})
    assert "Line 2 of the Dockerfile asks for the syntax image 'no.invalid/evil'" in said
