"""What this worker knows of layers that it compressed: how they came out, and which repositories were given them.

Only a hint: whether a repository still has a layer, the registry is asked each time. Kept in a small file, since
compressing all layers of all base images again after each restart would be the most expensive part of a push.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lumper.logs import get_logger
from lumper.model.images.image import is_digest

log = get_logger(__name__)

_MOST_LAYERS = 20_000
_MOST_PLACES = 4
_VERSION = 1


@dataclass(frozen=True)
class KnownLayer:
    """A layer as it was compressed: digest, bytes, and the repositories (HOST/NAME) that got it last, newest last."""

    digest: str
    size: int
    places: tuple[str, ...] = ()


class KnownLayers:
    """By the digests of uncompressed layers. `file` is read once; without one, nothing outlives the process."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._layers: OrderedDict[str, KnownLayer] | None = None
        self._changed = False
        self._saving = asyncio.Lock()

    def get(self, diff_id: str) -> KnownLayer | None:
        """What is known of a layer."""
        return self._read().get(diff_id)

    def note(self, diff_id: str, digest: str, size: int, place: str) -> None:
        """A repository has the layer now."""
        layers, old = self._read(), self.get(diff_id)
        before = old.places if old and old.digest == digest else ()
        places = (*(one for one in before if one != place), place)[-_MOST_PLACES:]
        new = KnownLayer(digest, size, places)
        self._changed = self._changed or new != old
        layers[diff_id] = new
        layers.move_to_end(diff_id)
        while len(layers) > _MOST_LAYERS:
            layers.popitem(last=False)

    async def save(self) -> None:
        """Write down what has changed. That it cannot be is only worth a warning."""
        async with self._saving:
            if self._file is None or not self._changed:
                return
            self._changed = False
            known = {diff_id: [one.digest, one.size, *one.places] for diff_id, one in self._read().items()}
            try:
                await asyncio.to_thread(_write, self._file, json.dumps({"version": _VERSION, "layers": known}))
            except OSError as exc:
                log.warning("what is known of layers was not kept", action="layers.save", error=str(exc))

    def _read(self) -> OrderedDict[str, KnownLayer]:
        if self._layers is None:
            self._layers = OrderedDict()
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                self._layers.update(_parsed(json.loads(self._file.read_text()) if self._file else {}))
        return self._layers


def _parsed(document: Any) -> dict[str, KnownLayer]:
    if document.get("version") != _VERSION:
        return {}
    return {
        diff_id: KnownLayer(digest, size, tuple(map(str, places)))
        for diff_id, (digest, size, *places) in document["layers"].items()
        if is_digest(diff_id) and is_digest(digest) and isinstance(size, int)
    }


def _write(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)
    new.replace(file)
