"""What engines without a store of images have in common: the worker keeps the images, and pushes them from there."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

from lumper.build.engines.buildkit.push.layout import Layout
from lumper.build.engines.buildkit.push.layout_push import LayoutPush
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.engines.push_step import FIRST_PUSH
from lumper.build.port import Login, Pushed, Report
from lumper.build.target import OpenTarget


class KeptImages:
    """The methods of the port for images in `folder`; `open_target` reaches registries."""

    def __init__(self, folder: Path, open_target: OpenTarget) -> None:
        self._layout = Layout(folder)
        self._pushes = LayoutPush(self._layout, open_target)
        self._push_numbers = itertools.count(FIRST_PUSH)

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        reader = PushReader(image, next(self._push_numbers), report, time.time)
        with reader.under_way():
            return await self._pushes.push(image, login, reader)

    async def remove(self, image: str) -> None:
        await asyncio.to_thread(self._layout.remove, image)

    async def images(self, prefix: str) -> list[str]:
        names = await asyncio.to_thread(self._layout.names)
        return [name for name in names if name.startswith(prefix)]
