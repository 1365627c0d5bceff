from __future__ import annotations

import pickle

from lumper.store.query_cache import QueryCache

_MANY = 17_000  # more than are remembered


def test_it_does_not_grow_with_the_repositories_that_were_ever_asked_for() -> None:
    cache = QueryCache[bool]()
    for number in range(_MANY):
        cache.keep(f"team/{number:06}", "latest", True)
    size = len(pickle.dumps(cache))

    for number in range(_MANY, 2 * _MANY):
        cache.keep(f"team/{number:06}", "latest", True)

    assert len(pickle.dumps(cache)) < 1.1 * size
    assert cache.get(f"team/{2 * _MANY - 1:06}", "latest")
    assert cache.get("team/000000", "latest") is None


def test_what_is_forgotten_of_a_repository_leaves_the_others() -> None:
    cache = QueryCache[int]()
    for repository, asked, answer in (("one", "a", 1), ("one", "b", 2), ("two", "a", 3)):
        cache.keep(repository, asked, answer)

    cache.forget_one("one", "a")
    assert (cache.get("one", "a"), cache.get("one", "b"), cache.get("two", "a")) == (None, 2, 3)
    cache.forget("one")
    assert (cache.get("one", "b"), cache.get("two", "a")) == (None, 3)
    cache.forget(None)
    assert cache.get("two", "a") is None
