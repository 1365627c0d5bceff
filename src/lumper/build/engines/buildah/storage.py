"""What buildah's storage holds, and what of it is only a cache. Pure but for the reading of its two lists.

An image that is no longer needed by its name keeps one below KEPT, which says when that was: without any name, buildah
would remove its layers with it. Source of the lists: containers/storage, docs/containers-storage-layers.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = "localhost/lumper/cache"


@dataclass(frozen=True)
class Image:
    """An image with its names and its last layer. Steps of builds are images without a name."""

    id: str
    names: tuple[str, ...]
    layer: str

    @property
    def needed(self) -> bool:
        """Whether anybody calls it by a name of his own."""
        return any(not name.startswith(f"{KEPT}:") for name in self.names)

    @property
    def last_needed(self) -> str:
        """Sorts by time; what never had a name, or lost it to another image, comes first."""
        return max(self.names, default="")


@dataclass(frozen=True)
class Layer:
    """A layer and the one that it lies on, "" for none. `size` is in bytes."""

    parent: str
    size: int


@dataclass(frozen=True)
class Stored:
    """Everything in a storage."""

    images: Sequence[Image]
    layers: Mapping[str, Layer]

    @property
    def names(self) -> list[str]:
        """All names that people or workers gave, sorted."""
        return sorted({name for image in self.images for name in image.names if not name.startswith(f"{KEPT}:")})

    @property
    def cache_size(self) -> int:
        """The bytes of layers that no image with a name of its own has."""
        used = self._below(image.layer for image in self.images if image.needed)
        return sum(layer.size for name, layer in self.layers.items() if name not in used)

    @property
    def oldest(self) -> str:
        """The id of the image that should go first, "" if none may; what others are built on goes with them."""
        spare = [image for image in self.images if not image.needed]
        tops = [image for image in spare if not self._is_below(image)] or spare
        return min(tops, key=lambda image: image.last_needed).id if tops else ""

    def _is_below(self, image: Image) -> bool:
        others = (self.layers[other.layer].parent for other in self.images if other.layer in self.layers)
        return not image.names and image.layer in self._below(others)

    def _below(self, tops: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for name in tops:
            while name and name not in found:
                found.add(name)
                name = self.layers[name].parent if name in self.layers else ""
        return found


def kept_name(nanoseconds: int) -> str:
    """The name that an image keeps which was needed until then."""
    return f"{KEPT}:{nanoseconds:020d}"


def read_storage(root: Path) -> Stored:
    """Read a storage, whatever its driver. Blocking."""
    images = [
        Image(str(one["id"]), tuple(one.get("names") or ()), str(one.get("layer", "")))
        for one in _list(root, "*-images/images.json")
    ]
    layers = {
        str(one["id"]): Layer(str(one.get("parent", "")), max(0, int(one.get("diff-size", 0))))
        for one in _list(root, "*-layers/layers.json")
    }
    return Stored(images, layers)


def _list(root: Path, pattern: str) -> list[dict[str, Any]]:
    return [one for path in root.glob(pattern) for one in json.loads(path.read_bytes() or b"[]")]
