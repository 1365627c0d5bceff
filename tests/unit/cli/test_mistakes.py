"""A mistake on the command line is told in a sentence, with where to look; the status is 2."""

from __future__ import annotations

import os
import pty
import sys
from subprocess import PIPE, Popen

import pytest

from lumper.cli.copying import import_
from lumper.cli.main import main
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
    typed = [sys.executable, "-m", "lumper", "user", "add", "ann", "--url", "http://127.0.0.1:1"]
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
