"""`lumper completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Literal

from lumper.cli.main import app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script with which a shell completes commands, options and their values by Tab; for a file of its own.

    Example: lumper completion bash > ~/.local/share/bash-completion/completions/lumper

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    print(app.generate_completion(shell=shell), end="")
