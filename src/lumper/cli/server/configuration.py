"""`lumper config`: every option, its default and what is in force."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lumper.cli.output import show_json
from lumper.config.settings import load


def configuration(*, config: Path | None = None, json: bool = False) -> None:
    """Print every option with its default and meaning; with --json, what is in force.

    Example: lumper config > lumper.toml

    Parameters
    ----------
    config
        The TOML file to read, with --json.
    json
        Print what is in force as JSON, without secrets.
    """
    if json:
        show_json(load(config).model_dump(mode="json"))
    else:
        print(files("lumper.config").joinpath("reference.toml").read_text("utf-8"), end="")
