"""Whatever plain `docker build` makes of a folder, `lumper build` makes of the commit: the same image, or none."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from parts.engines.context import BASE, BUSYBOX
from parts.engines.docker_engine import ADDRESS
from parts.engines.plain_docker import Engine, Recipe, differences, failed_step

pytestmark = pytest.mark.docker

LIST = "RUN cd /x && find . | sort | xargs ls -ld 2>&1 | sed 's/ [A-Z][a-z][a-z] .* \\./ ./'\n"


def _tar(compressed: bool) -> bytes:
    """An archive that ADD unpacks."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz" if compressed else "w") as archive:
        member = tarfile.TarInfo("unpacked/file")
        member.size, member.mode = 3, 0o640
        archive.addfile(member, io.BytesIO(b"abc"))
    return made.getvalue()


@dataclass(frozen=True)
class Case:
    """A folder and how it is built. `fails` is what both say where it fails: the step, or a part of the reason."""

    name: str
    dockerfile: str
    files: dict[str, str | bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    fails: str = ""


MANY: dict[str, str | bytes] = dict.fromkeys(
    ("a", "b", "d/a", "d/b", "d/e/a", "d/e/f/a.pyc", "node_modules/x/y", "src/keep", "src/no"), "text\n"
)
COPY_ALL = f"{BASE}COPY . /x\n{LIST}"
PATTERNS = """\ufeff# comment

  /a  \n**/*.pyc
d/*/a
!d/e/a
node_modules/
src/../b
[x-z]*
!\\busybox
"""
NAMES: dict[str, str | bytes] = {
    name: str(number)
    for number, name in enumerate(
        (
            "with space",
            "ünïcode",
            "-dash",
            "[a]",
            "star*",
            "new\nline",
            "x" * 120 + "/" + "y" * 200,
            "\udcff",
            "日本/語",
        )
    )
}
ATTRIBUTES = "subst export-subst\nhidden export-ignore\ncrlf text eol=crlf\n"
AROUND = "*.sh text eol=crlf\n/sub/in/*.sh text eol=lf\nsub/w* working-tree-encoding=UTF-16LE\n*d ident\n"
ALL_KINDS = f"""# escape=`
ARG WHICH=first
{BASE.replace("scratch", "scratch AS first")}ARG A=1`
2
ENV B=$A C="x y"
RUN echo $A > /a
FROM first AS unused
RUN exit 1
FROM ${{WHICH}}
ADD --chown=1:2 plain.tar packed.tar.gz /t/
COPY --chown=3 --from=first /a /b
RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/cache cp /ctx/plain.tar /copied && touch /cache/x
WORKDIR /w/../v
VOLUME /data
EXPOSE 80 81/udp
HEALTHCHECK --interval=5s CMD true
STOPSIGNAL 9
USER 5:6
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "true"]
LABEL own=1
ONBUILD RUN echo later
"""


def _without(ignored: str, name: str = ".dockerignore", **more: str) -> dict[str, str | bytes]:
    """Many files, and an ignore file."""
    return {**MANY, name: ignored, **more}


CASES = [
    Case("the ignore file names the Dockerfile and itself", COPY_ALL, _without("Dockerfile\n.dockerignore\n")),
    Case("everything is ignored but some", COPY_ALL, _without("*\n!busybox\n!src\nsrc/no\n!d/e\n")),
    Case("everything is ignored", "FROM scratch\nCOPY . /x\nENV A=1\n", _without("*")),
    Case("all kinds of patterns", COPY_ALL, _without(PATTERNS)),
    Case(
        "an ignore file of the Dockerfile's own",
        COPY_ALL,
        _without("b\ndev.*\n", "dev.Dockerfile.dockerignore") | {".dockerignore": "a\n"},
        recipe=Recipe(".", "dev.Dockerfile"),
    ),
    Case(
        "a Dockerfile that is ignored and copied",
        f"{BASE}COPY Dockerfile /x\n",
        {".dockerignore": "Dockerfile"},
        fails="COPY Dockerfile /x",
    ),
    Case("a Dockerfile in lower case", COPY_ALL, MANY, recipe=Recipe(".", "dockerfile")),
    Case("a Dockerfile below the context", COPY_ALL, _without("docker"), recipe=Recipe(".", "docker/Dockerfile")),
    Case(
        "a context below the root",
        COPY_ALL,
        {"sub/busybox": BUSYBOX.read_bytes(), "sub/a": "1", "sub/.dockerignore": "b", "sub/b": "2"},
        recipe=Recipe("sub", "Dockerfile"),
    ),
    Case(
        "links",
        COPY_ALL + "COPY in to-folder /y/\nCOPY to-folder/b /z\n",
        {"d/b": "1", "e": "2", ".dockerignore": "e"},
        links={"in": "d/b", "dangling": "nowhere", "to-folder": "d", "up/again": "../d/b", "absolute": "/etc/passwd"},
    ),
    Case("names", COPY_ALL + 'COPY ["with space", "ünïcode", "/y/"]\nCOPY ./-dash /z\n', NAMES),
    Case(
        "what git changes on its way",
        COPY_ALL + "RUN cat /x/subst /x/crlf\n",
        {".gitattributes": ATTRIBUTES, "subst": "$Format:%H$\n", "hidden": "1", "crlf": "a\nb\n"},
    ),
    Case(
        "what attributes around the context change in it",
        COPY_ALL + "RUN od -c /x/run.sh; od -c /x/in/other.sh; od -c /x/wide; cat /x/id\n",
        {
            ".gitattributes": AROUND,
            "sub/busybox": BUSYBOX.read_bytes(),
            "sub/run.sh": "a\nb\n",
            "sub/in/other.sh": "a\nb\n",
            "sub/wide": "wide\n".encode("utf-16-le"),
            "sub/id": "$Id$\n",
        },
        recipe=Recipe("sub", "Dockerfile"),
    ),
    Case("instructions of all kinds", ALL_KINDS, {"plain.tar": _tar(False), "packed.tar.gz": _tar(True)}),
    Case("a Dockerfile with carriage returns", COPY_ALL.replace("\n", "\r\n"), MANY),
    Case("a step that fails", f"{BASE}RUN echo before\nRUN exit 3\nRUN echo after\n", fails="RUN exit 3"),
    Case("a file that is not there", f"{BASE}COPY nothing /x\n", fails="COPY nothing /x"),
    Case("an instruction that there is not", f"{BASE}COPPY a /x\n", fails="line 3"),
    Case("a stage before which there is something", "RUN x\nFROM scratch\n", fails="no build stage"),
    Case("a base that there is not", "FROM nothing.invalid/x:1\n", fails="nothing.invalid/x:1"),
    Case("a folder that leaves the context", f"{BASE}COPY ../up /x\n", fails="COPY ../up /x"),
]


@pytest.fixture
def engine() -> Iterator[Engine]:
    yield Engine(ADDRESS)


def _make(root: Path, case: Case) -> None:
    """Write and commit the folder of a case."""
    context = root / case.recipe.context
    files = {"busybox": BUSYBOX.read_bytes(), **case.files} if case.recipe.context == "." else case.files
    files = {**files, f"{case.recipe.context}/{case.recipe.dockerfile}": case.dockerfile}
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        path.chmod(0o755 if path.name == "busybox" else 0o644)
    for name, target in case.links.items():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).symlink_to(target)
    asked = case.recipe if case.recipe != Recipe(".", "dockerfile") else Recipe()
    (root / "lumper.toml").write_text(asked.toml)
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "first")):
        git(root, *arguments)
    for name in files:
        (root / name).unlink()
    git(root, "checkout", "--quiet", "--", ".")  # as git writes them


def git(root: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "core.autocrlf=false")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_make_the_same_of_it(case: Case, engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "parity"
    root.mkdir(mode=0o755)
    _make(root, case)
    other = engine.lumper_build(root, tmp_path / "cache")
    (root / ".git").rename(tmp_path / "git")  # `docker build URL` leaves it out, too
    one = engine.plain_build(root, case.recipe, "parity:plain")
    try:
        assert (bool(one.image), bool(other.image)) == (not case.fails, not case.fails), one.said + other.said
        if case.fails:
            assert failed_step(one.said).partition("] ")[2] == failed_step(other.said).partition("] ")[2]
            assert case.fails in one.said
            assert case.fails in other.said
        else:
            assert differences(engine.config(one.image), engine.config(other.image)) == []
            assert differences(engine.files(one.image), engine.files(other.image)) == []
    finally:
        engine.docker("image", "rm", "--force", *filter(None, (one.image, other.image)), check=False)
