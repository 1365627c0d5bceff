"""The configuration: sources, errors, the reference."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from lumper.config.settings import Config, UpstreamConfig, load, options, without_effect
from lumper.config.toml_lines import locate
from lumper.errors import ConfigError

REFERENCE = files("lumper.config").joinpath("reference.toml").read_text("utf-8")


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "lumper.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:1"\n[worker]\nconcurrency = 3\n[git]\ntimeout = 7\n')
    environment = {"LUMPER_WORKER_CONCURRENCY": "4", "LUMPER_SERVER_LISTEN": "127.0.0.1:2"}
    config = load(file, environment=environment, overrides={"server.listen": "127.0.0.1:3", "data": None})
    assert (config.server.listen, config.worker.concurrency, config.git.timeout) == ("127.0.0.1:3", 4, 7.0)


def test_a_variable_that_is_no_options_is_named_with_the_one_that_may_be_meant() -> None:
    environment = {
        "LUMPER_REGISTRY_ANONYMOS": "pull", "LUMPER_REGISTRY_ANONYMOUS": "pull", "LUMPER_QUEUE_URL_FILE": "/amqp",
        "LUMPER_WORKER_CONCURRENCY_FILE": "/number", "LUMPER_REGISTRY_SERVICE_HOST": "10.0.0.1", "LUMPER_DATA": "/srv",
        "LUMPER_SERVER": "http://127.0.0.1", "LUMPER_URL": "http://127.0.0.1",
        "LUMPER_TOKEN_FILE": "/token", "HOME": "/root",
    }  # fmt: skip
    found = without_effect(environment)
    assert list(found) == [
        "LUMPER_REGISTRY_ANONYMOS", "LUMPER_REGISTRY_SERVICE_HOST", "LUMPER_WORKER_CONCURRENCY_FILE"
    ]  # fmt: skip
    assert found["LUMPER_REGISTRY_ANONYMOS"] == "LUMPER_REGISTRY_ANONYMOUS"
    assert found["LUMPER_WORKER_CONCURRENCY_FILE"] == "LUMPER_WORKER_CONCURRENCY"


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "amqp").write_text("amqp://u:hunter2@mq/\n")
    config = load(environment={"LUMPER_QUEUE_URL_FILE": str(tmp_path / "amqp")})
    assert config.queue.url.get_secret_value() == "amqp://u:hunter2@mq/"
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()


def test_all_errors_come_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "lumper.toml"
    file.write_text('[server]\nlisten = "nowhere"\ncolour = "red"\n\n[mail]\nport = 99999\n')
    with pytest.raises(ConfigError) as wrong:
        load(file, environment={"LUMPER_WORKER_CONCURRENCY": "many"})
    found = {(problem.line, problem.where) for problem in wrong.value.problems}
    assert found == {(2, "server.listen"), (3, "server.colour"), (6, "mail.port"), (0, "worker.concurrency")}
    assert "LUMPER_WORKER_CONCURRENCY" in str(wrong.value)


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "lumper.toml"
    file.write_text("[server]\nlisten = \n")
    with pytest.raises(ConfigError, match="line 2"):
        load(file, environment={})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nothing.toml", environment={})


def test_the_reference_names_every_option_and_no_other() -> None:
    named = set()
    for line in REFERENCE.splitlines():
        text = line.removeprefix("# ")
        if text.startswith("["):
            section = text.strip("[]")
        elif "=" in text and text.split(" =")[0].isidentifier():
            key = text.split(" =")[0]
            named.add(key if key == "data" else f"{section}.{key}")
    mirrored = {key.rpartition(".")[2] for key in named if key.startswith("registry.upstream.")}
    tables = ("mail.people", "registry.upstream", "worker.ssh_agent", "worker.cache_groups")
    named = {key for key in named if not key.startswith(tables)} | set(tables)
    assert named == set(options())
    assert mirrored == set(UpstreamConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[registry.upstream."docker.io"]\nurl = "ftp://x"\n', "url"),
        ('[registry.upstream."docker.io"]\nurl = "https://u:p@x"\n', "url"),
        ('[registry.upstream."docker.io"]\n', "url"),
        ('[registry.upstream.a]\nurl = "https://x"\nprefix = "A"\n', "prefix"),
        (
            '[registry.upstream.a]\nurl = "https://x"\n[registry.upstream.b]\nurl = "https://y"\nprefix = "a"\n',
            "prefix",
        ),
        ("".join(f'[registry.upstream.{n}]\nurl = "https://x"\ndefault = true\n' for n in "ab"), "default"),
    ],
)
def test_an_upstream_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "lumper.toml").write_text(text)
    with pytest.raises(ConfigError, match=where):
        load(tmp_path / "lumper.toml", environment={})


def test_an_upstreams_password_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "lumper.toml").write_text('[registry.upstream.hub]\nurl = "https://x"\npassword = "hunter2"\n')
    config = load(tmp_path / "lumper.toml", environment={})
    assert config.registry.upstream["hub"].password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(config) + config.model_dump_json()


def test_the_reference_holds_the_defaults() -> None:
    told = tomllib.loads(REFERENCE)
    config = Config.model_validate({**told, "worker": {**told["worker"], "name": "w"}})
    default = Config.model_validate({"data": "/var/lib/lumper", "worker": {"name": "w"}})
    assert config == default


def test_sizes_are_written_as_people_write_them() -> None:
    assert load(environment={"LUMPER_GIT_MAX_SIZE": "2 GiB"}).git.max_size == 2 << 30


@pytest.mark.parametrize(
    ("keys", "line"),
    [(["a", "b"], 2), (["a", "c", "d"], 4), (["x", "y"], 6), (["x", "z"], 5), (["t"], 1), (["u", "v"], 7)],
)
def test_a_key_is_found_in_toml_text(keys: list[str], line: int) -> None:
    text = 't = 1\na.b = 2\n[a.c]\n"d" = 3\n[[x]]\ny = 1\n[u.v]\n'
    assert locate(text, keys) == line
