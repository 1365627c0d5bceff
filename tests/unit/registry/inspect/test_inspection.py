from __future__ import annotations

from typing import Any

import pytest

from lumper.registry.inspect.image import Inspection, Step, inspection, shown
from lumper.registry.manifest_format import parsed

LAYER = {"digest": "sha256:" + "a" * 64, "size": 7}
ODD: list[Any] = [None, 3, "x", True, [], {}, [1, "x", None, {}], {"a": 1}, {"config": 3}, [[[]]], 1e300, -1]


def test_layers_are_told_with_the_lines_that_made_them_and_lines_without_a_layer_too() -> None:
    history = [
        {"created_by": "/bin/sh -c #(nop) COPY shop /srv"},
        {"created_by": "ENV A=b", "empty_layer": True},
        {"created_by": "/bin/sh -c make"},
    ]
    found = inspection({"layers": [LAYER, LAYER]}, {"history": history})
    assert [step.command for step in found.steps] == ["COPY shop /srv", "ENV A=b", "make"]
    assert [step.size for step in found.steps] == [7, 0, 7]


def test_lines_that_do_not_fit_the_layers_are_not_believed() -> None:
    found = inspection({"layers": [LAYER]}, {"history": [{"created_by": "a"}, {"created_by": "b"}]})
    assert found.steps == (Step("", LAYER["digest"], 7),)  # type: ignore[arg-type]


def test_an_attestation_in_an_index_is_told_from_platforms() -> None:
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:1"}
    one = {**LAYER, "platform": {"os": "linux", "architecture": "amd64"}}
    other = {**LAYER, "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": annotations}
    found = inspection({"manifests": [one, other]}, {})
    assert [(each.name, each.about) for each in found.platforms] == [("linux/amd64", ""), ("attestation", "sha256:1")]


def test_layers_in_an_index_are_no_platforms() -> None:
    """BuildKit's caches are such indexes."""
    layer = {**LAYER, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    assert inspection({"manifests": [layer]}, {}).platforms == ()


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_as_it_should_be_is_left_out(odd: Any) -> None:
    keys = ("config", "layers", "manifests", "annotations", "subject", "artifactType", "history", "platform")
    inner = dict.fromkeys(("Entrypoint", "Cmd", "Env", "Labels", "User", "ExposedPorts", "Volumes", "mediaType"), odd)
    for document in (dict.fromkeys(keys, odd), {"config": inner, "layers": [inner], "manifests": [inner]}):
        config = {**document, "os": odd, "architecture": odd, "created": odd}
        assert isinstance(inspection(document, config), Inspection)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000])
def test_what_is_no_object_is_empty(body: bytes) -> None:
    assert parsed(body) == {}


def test_texts_are_cut_and_what_cannot_be_seen_is_marked() -> None:
    assert shown("a\ud800b\x00c\u202ed\n") == "a\ufffdb\ufffdc\ufffdd\n"
    assert len(shown("x" * 10_000)) == 4001
