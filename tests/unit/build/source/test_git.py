from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lumper.build.source.git import Access, Git, Ssh, last_words, printable
from lumper.build.source.git_trouble import Trouble, error_of, trouble
from lumper.errors import LumperError

GIT = Git(Path("/data/git/home"))
HTTPS = Access("https://git.example.org/a/b.git", credentials=("robot", "t0k3n-value"))


def test_a_git_process_sees_nothing_of_the_environment_but_proxies_certificates_and_the_path() -> None:
    outer = {
        "PATH": "/opt/bin",
        "https_proxy": "http://proxy:3128",
        "GIT_SSL_CAINFO": "/ca.pem",
        "GIT_DIR": "/x",
        "GIT_SSH": "/evil",
        "GIT_CONFIG_PARAMETERS": "'core.pager=evil'",
        "LD_PRELOAD": "/evil.so",
        "HOME": "/root",
        "SSH_AUTH_SOCK": "/agent",
        "LUMPER_MAIL_PASSWORD": "secret",
    }
    seen = GIT.environment(HTTPS, outer)
    assert (seen["PATH"], seen["https_proxy"], seen["GIT_SSL_CAINFO"]) == ("/opt/bin", "http://proxy:3128", "/ca.pem")
    assert (seen["HOME"], seen["GIT_CONFIG_NOSYSTEM"], seen["GIT_TERMINAL_PROMPT"]) == ("/data/git/home", "1", "0")
    assert not {"GIT_DIR", "GIT_SSH", "GIT_CONFIG_PARAMETERS", "LD_PRELOAD", "SSH_AUTH_SOCK"} & set(seen)
    assert "secret" not in str(seen)


def test_local_paths_are_a_transport_only_where_they_were_allowed() -> None:
    assert GIT.environment(Access("/srv/x.git", local=True))["GIT_ALLOW_PROTOCOL"] == "file"
    assert GIT.environment(HTTPS)["GIT_ALLOW_PROTOCOL"] == "http:https:ssh"


def test_credentials_are_bound_to_the_url() -> None:
    seen = GIT.environment(HTTPS)
    assert seen["GIT_CONFIG_KEY_0"] == "http.https://git.example.org/a/b.git.extraHeader"
    assert seen["GIT_CONFIG_VALUE_0"] == "Authorization: Basic cm9ib3Q6dDBrM24tdmFsdWU="
    assert "t0k3n" not in repr(HTTPS)


def test_git_and_ssh_get_the_addresses_along_with_the_name() -> None:
    seen = GIT.environment(Access("https://git.example.org/a/b", pinned=("192.0.2.1", "2001:db8::1")))
    assert seen["GIT_CONFIG_KEY_0"] == "http.curloptResolve"
    assert seen["GIT_CONFIG_VALUE_0"] == "git.example.org:443:192.0.2.1,[2001:db8::1]"
    for url, alias in (
        ("git@git.example.org:a/b", "git.example.org"),
        ("ssh://git.example.org:29/a", "[git.example.org]:29"),
    ):
        words = shlex.split(GIT.environment(Access(url, pinned=("192.0.2.1",)))["GIT_SSH_COMMAND"])
        assert {"HostName=192.0.2.1", f"HostKeyAlias={alias}"} <= set(words)


def test_ssh_asks_nothing_reads_no_configuration_and_knows_only_our_hosts() -> None:
    words = shlex.split(Git(Path("/d a/h%me")).environment()["GIT_SSH_COMMAND"])
    assert words[:3] == ["ssh", "-F", "/dev/null"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes"} <= set(words)
    assert 'UserKnownHostsFile="/d a/h%%me/known_hosts"' in words
    strict = Git(Path("/h"), Ssh(Path("/keys/my key"), Path("/etc/known"), strict_host_keys=True))
    words = shlex.split(strict.environment()["GIT_SSH_COMMAND"])
    assert {"StrictHostKeyChecking=yes", 'UserKnownHostsFile="/etc/known"'} <= set(words)
    assert words[-2:] == ["-i", "/keys/my key"]


def test_what_git_said_is_printable_and_has_no_credentials() -> None:
    said = b"fatal: https://me:pw@host/x \x1b]8;;javascript:alert(1)\x07 t0k3n-value\r\xffend"
    assert printable(said, ("t0k3n-value",)) == (
        "fatal: https://…@host/x  ]8;;javascript:alert(1)  …\n\N{REPLACEMENT CHARACTER}end"
    )


def test_the_last_words_are_those_that_say_what_went_wrong() -> None:
    said = "remote: Not Found\nwarning: x\nfatal: repository 'x' not found\n\nPlease make sure\nand it exists.\n"
    assert last_words(said) == "remote: Not Found fatal: repository 'x' not found"
    said = "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n"
    assert last_words(said).startswith("git@x: Permission denied (publickey). fatal:")
    assert last_words("") == "it said nothing"


@pytest.mark.parametrize(
    ("words", "kind", "temporary"),
    [
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", Trouble.UNAUTHORIZED, False),
        ("fatal: Authentication failed for 'https://x/'", Trouble.UNAUTHORIZED, False),
        ("fatal: unable to access 'x': The requested URL returned error: 403", Trouble.UNAUTHORIZED, False),
        ("git@x: Permission denied (publickey).\nfatal: Could not read from remote", Trouble.UNAUTHORIZED, False),
        ("Host key verification failed.\nfatal: Could not read from remote", Trouble.HOST_KEY, False),
        ("fatal: unable to access 'x': The requested URL returned error: 301", Trouble.MOVED, False),
        ("fatal: unable to access 'x': The requested URL returned error: 503", Trouble.UNREACHABLE, True),
        ("fatal: unable to access 'x': Could not resolve host: x", Trouble.UNREACHABLE, True),
        ("fatal: unable to access 'x': SSL certificate problem: expired", Trouble.UNREACHABLE, True),
        ("ssh: connect to host x port 22: Connection timed out", Trouble.UNREACHABLE, True),
        ("fatal: the remote end hung up unexpectedly", Trouble.UNREACHABLE, True),
        ("fatal: repository 'https://x/' not found", Trouble.NO_REPOSITORY, False),
        ("remote: ERROR: Repository not found.\nfatal: Could not read", Trouble.NO_REPOSITORY, False),
        ("fatal: couldn't find remote ref refs/tags/v9", Trouble.NO_REF, False),
        ("fatal: remote error: upload-pack: not our ref 1111", Trouble.NO_REF, False),
        ("fatal: remote error: want 1111 not valid", Trouble.NO_REF, False),
        ("error: Server does not allow request for unadvertised object 11", Trouble.NO_REF, False),
        ("fatal: dumb http transport does not support shallow capabilities", Trouble.NO_SHALLOW, True),
        ("fatal: mismatched algorithms: client sha256; server sha1", Trouble.OTHER_HASH, True),
        ("error: object file objects/11/11 is empty\nfatal: loose object 11", Trouble.DAMAGED, True),
        ("fatal: write error: No space left on device\nfatal: index-pack failed", Trouble.DISK_FULL, False),
        ("fatal: transport 'file' not allowed", Trouble.REFUSED, False),
        ("", Trouble.UNREACHABLE, True),
    ],
)
def test_the_words_of_git_are_understood(words: str, kind: Trouble, temporary: bool) -> None:
    assert trouble(words) is kind
    error = error_of(kind, words, url="https://x", what="v1")
    assert isinstance(error, LumperError)
    assert error.temporary is temporary
    assert "https://x" in error.message
    assert error.hint
