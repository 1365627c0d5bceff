"""A mistake on the command line is told in a sentence, with where to look; the status is 2."""

from __future__ import annotations

import os
import pty
import sys
from io import BytesIO, TextIOWrapper
from subprocess import PIPE, Popen, run

import pytest

from lumper.cli.images.copying import import_
from lumper.cli.main import main
from lumper.cli.people.users import _password
from lumper.errors import Invalid


@pytest.mark.parametrize(
    ("words", "said", "look"),
    [
        (["imags"], "`lumper` takes no 'imags'. Did you mean `lumper images`?", "lumper --help"),
        (
            ["registry", "rulez"],
            "`lumper registry` takes no 'rulez'. Did you mean `lumper registry rules`?",
            "registry",
        ),
        (["registry", "rules", "sett"], "Did you mean `lumper registry rules set`?", "lumper registry rules --help"),
        (["services"], "Did you mean `lumper ps`?", "lumper --help"),
        (["deliveries"], "Did you mean `lumper hooks`?", "lumper --help"),
        (["builds", "--url", "http://127.0.0.1:9"], "`--server URL` names a server", "lumper builds --help"),
        (
            ["project", "add", "--url", "https://g.example.org/a/b"],
            "a git URL stands alone",
            "lumper project add --help",
        ),
        (["project", "show", "a", "b"], "`lumper project show` takes no 'b'.", "lumper project show --help"),
        (["log"], "BUILD requires an argument", "lumper log --help"),
        (["user", "add"], "NAME requires an argument", "lumper user add --help"),
        (["builds", "--limt", "3"], "Did you mean --limit?", "lumper builds --help"),
        (["builds", "--limit", "x"], 'unable to convert "x" into int', "lumper builds --help"),
        (["token", "create", "a", "--role", "robot"], "Choose from", "lumper token create --help"),
    ],
)
def test_a_mistake_is_told_with_where_to_look(
    words: list[str], said: str, look: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, second = told.err.splitlines()
    assert first.startswith("lumper: ") and said in first
    assert second.startswith("        What can be typed: ") and look in second


def test_a_prefix_that_names_no_repository_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(Invalid, match="cannot go before the names"):
        import_("https://registry.example.org", prefix="Old Ones")


def test_a_password_that_is_typed_is_typed_twice() -> None:
    controller, terminal = pty.openpty()
    typed = [sys.executable, "-m", "lumper", "user", "add", "ann", "--server", "http://127.0.0.1:1"]
    with Popen(typed, stdin=terminal, stderr=PIPE, start_new_session=True) as asking:
        os.close(terminal)
        assert asking.stderr is not None
        for prompt, answer in ((b"Password: ", b"correct horse\n"), (b"Once more: ", b"correct hose\n")):
            while not prompt.startswith(asking.stderr.read(1)):
                pass
            assert asking.stderr.read(len(prompt) - 1) == prompt[1:]
            os.write(controller, answer)
        told = asking.stderr.read()
    os.close(controller)
    assert b"lumper: The second password was another one." in told
    assert asking.returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["user", "add", "ann"], "No Lumper server answers"),
        (["image", "delete", "owner/app:1.0"], "was not deleted"),
        (["secret", "set", "owner/app", "npm"], "No Lumper server answers"),
    ],
)
def test_without_a_standard_input_nothing_is_read_from_it(words: list[str], said: str) -> None:
    typed = [
        "sh",
        "-c",
        'exec "$@" <&-',
        "sh",
        sys.executable,
        "-m",
        "lumper",
        *words,
        "--server",
        "http://127.0.0.1:1",
    ]
    done = run(typed, capture_output=True, text=True, check=False, env=os.environ | {"LUMPER_TOKEN": "lmp_x"})
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_through_a_pipe_is_its_line_whatever_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (b"correct horse ", b"correct horse \n", b"correct horse \r\n"):
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(given), newline="\n"))  # as Python opens it
        assert _password(None) == "correct horse "
