"""The JSON Schema of `lumper.toml`, made from the models that read it. Draft 2020-12."""

from __future__ import annotations

from typing import Any

from lumper.build.recipe.file import RecipeFile

_ID = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """The schema as JSON has it: every key and its type. What a text may be in detail only `recipe check` tells."""
    schema: dict[str, Any] = {"$schema": _ID, **_for_toml(RecipeFile.model_json_schema())}
    return {**schema, "title": "lumper.toml"}


def _for_toml(value: Any) -> Any:
    """Without titles that repeat the keys, and without null, which TOML does not have."""
    if isinstance(value, list):
        return [_for_toml(each) for each in value if each != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {key: _for_toml(each) for key, each in value.items() if not _idle(key, each)}
    if len(kept.get("anyOf", ())) == 1:
        kept |= kept.pop("anyOf")[0]
    return kept


def _idle(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
