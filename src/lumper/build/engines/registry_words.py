"""What registries, and the programs that push to them, say of a failure: whatever engine passes it on. Pure."""

from __future__ import annotations

import re

from lumper.errors import ImageGone, PushFailed, PushRefused, RegistryFull

FULL = re.compile(r"no space|insufficient storage|\b507\b", re.IGNORECASE)
"""Somewhere there is no space left."""

LIMITED = re.compile(r"too ?many ?requests|\b429\b", re.IGNORECASE)
"""The registry wants fewer requests."""

DENIED = re.compile(r"denied|unauthorized|authorization|authentication|\b401\b|\b403\b", re.IGNORECASE)
"""The registry does not let whoever asks."""

_UNREACHABLE = re.compile(
    r"no such host|server misbehaving|connection refused|i/o timeout|unreachable|deadline exceeded|"
    r"Client\.Timeout|certificate|server gave HTTP response"
)
_UNAUTHORIZED = re.compile(r"unauthorized|authentication required|\b401\b", re.IGNORECASE)
_REFUSED = re.compile(r"\bdenied\b|\b403\b|forbidden|quota|immutable", re.IGNORECASE)
_GONE = re.compile(r"does not exist locally|tag does not exist|no such image|image not known", re.IGNORECASE)


def image_hint(text: str, settings: str) -> str:
    """What to do about a base image that cannot be fetched; `settings` is where the engine's mirrors are named."""
    if _UNREACHABLE.search(text):
        return (
            f"The build engine cannot reach that image's registry: check its network, or name a mirror in {settings}."
        )
    return "Check its name and tag; if it is private, keep credentials for its registry: `lumper secret login --help`."


def push_error(image: str, text: str, *, retry_after: float = 0.0) -> PushFailed:
    """The error for a push that the engine gave up with `text`; `retry_after` is what the registry asks for, in s."""
    if FULL.search(text):
        return RegistryFull(f"{image} was not pushed: {sentence(text)}")
    if _GONE.search(text):
        return ImageGone(f"{image} was not pushed: {sentence(text)}")
    if _UNREACHABLE.search(text):
        hint = "The build engine's machine must reach the registry, by HTTPS or as one of its insecure registries."
    elif DENIED.search(text):
        hint = "The registry does not let this worker push: check its token."
    elif LIMITED.search(text):
        hint = "The registry wants fewer requests: it limits how much is pushed."
    else:
        hint = ""
    kind = PushFailed if _may_pass(text) else PushRefused
    return kind(f"{image} was not pushed: {sentence(text)}", hint=hint, retry_after=retry_after)


def _may_pass(text: str) -> bool:
    """Whether another try may help: not against a refusal, but with a new token against one that has expired."""
    return bool(_UNAUTHORIZED.search(text)) or not _REFUSED.search(text)


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
