"""The templates of the pages, and what they may use."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lumper.model.links import Links
from lumper.web.assets import Assets
from lumper.web.pages import formats

_TEMPLATES = Path(__file__).parents[1] / "templates"


def environment(assets: Assets, links: Links, *, alone: bool) -> Environment:
    """All templates; what a page shows is escaped, and a value that is missing is an error."""
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"asset": assets.url, "version": version("lumper"), "registry": links.registry, "alone": alone}
    found.filters |= {
        "bars": formats.stage_bars,
        "marked": formats.marked,
        "moment": formats.moment,
        "path": lambda text: quote(text, safe="/:@"),
        "port": formats.shown_port,
        "short": formats.short,
        "size": formats.size,
        "took": formats.took,
    }
    return found
