"""Uploads, mounts, deletions and restarts in any order, and pages of any size: a live registry and a model of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from lumper.model.people.people import Role
from lumper.registry.port import Storage
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.live_registry import OCI_MANIFEST, LiveRegistry, digest_of, live_registry
from parts.s3.s3_service import Bucket
from parts.servers.background import in_background

REPOSITORIES = st.sampled_from(["a", "a/b", "tags/list"])
BYTES = st.binary(max_size=12)
CONFIG = b"{}"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


class Client:
    """One connection, as an administrator."""

    def __init__(self, live: LiveRegistry) -> None:
        self._connection = http.client.HTTPConnection(live.host, timeout=60)
        self._token = live.tokens[Role.ADMIN]

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **named})
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    with in_background(live_registry(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture(scope="module")
def ask(live: LiveRegistry) -> Iterator[Client]:
    client = Client(live)
    yield client
    client.close()


@dataclass
class Upload:
    """What an upload must have."""

    repository: str
    location: str
    content: bytes = b""
    over: bool = False


@dataclass
class Model:
    """What the registry must have: the blobs of each repository."""

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def of(self, repository: str) -> dict[str, bytes]:
        return self.blobs.setdefault(repository, {})

    def somewhere(self, digest: str) -> bool:
        return any(digest in blobs for blobs in self.blobs.values())


@asynccontextmanager
async def over(folder: Path, storage: Storage | None) -> AsyncIterator[LiveRegistry]:
    """A registry, until the block ends, over a storage that ends with it; None: over files."""
    try:
        async with live_registry(folder, storage=storage) as running:
            yield running
    finally:
        if storage is not None:
            await storage.close()


class RegistryMachine(RuleBasedStateMachine):
    """Any order of requests; after each, the answer is the one that the model gives."""

    uploads: Bundle[Upload] = Bundle("uploads")
    contents: Bundle[bytes] = Bundle("contents")

    def __init__(self, open_storage: Callable[[], Storage | None]) -> None:
        super().__init__()
        self._open_storage = open_storage
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._server = self._stack.enter_context(ExitStack())
        self.model = Model()
        self.open: list[Upload] = []
        self.start()

    def start(self) -> None:
        running = over(self._folder, self._open_storage())
        self.ask = Client(self._server.enter_context(in_background(running)))
        self._server.callback(self.ask.close)

    def teardown(self) -> None:
        self._stack.close()

    @rule()
    def restart(self) -> None:
        """What came stays; of an upload to which nothing came, the client may have to begin another one."""
        self._server.close()
        self.start()
        for upload in self.open:
            if not upload.content and not upload.over:
                upload.over = self.ask("GET", upload.location).status == 404

    @rule(target=uploads, repository=REPOSITORIES)
    def begin(self, repository: str) -> Upload:
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202
        upload = Upload(repository, answer.headers["Location"])
        self.open.append(upload)
        return upload

    @rule(upload=uploads, data=BYTES.filter(bool), shift=st.sampled_from([0, 0, 0, -1, 1, 7]), told=st.booleans())
    def patch(self, upload: Upload, data: bytes, shift: int, told: bool) -> None:
        start = max(0, len(upload.content) + shift)
        headers = {"Content_Range": f"{start}-{start + len(data) - 1}"} if told else {}
        answer = self.ask("PATCH", upload.location, data, **headers)
        if upload.over:
            assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
        elif told and start != len(upload.content):
            assert (answer.status, answer.code) == (416, "SIZE_INVALID")
            assert answer.headers["Range"] == f"0-{max(0, len(upload.content) - 1)}"
        else:
            assert answer.status == 202
            upload.content += data

    @rule(target=contents, upload=consumes(uploads), data=BYTES, algorithm=st.sampled_from(["sha256", "sha512"]))
    def finish(self, upload: Upload, data: bytes, algorithm: str) -> bytes:
        whole = upload.content + data
        digest = f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"
        answer = self.ask("PUT", f"{upload.location}?digest={digest}", data)
        if upload.over:
            assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
        else:
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
            self.model.of(upload.repository)[digest] = whole
        upload.over = True
        return whole

    @rule(upload=uploads, data=BYTES)
    def finish_with_a_wrong_digest(self, upload: Upload, data: bytes) -> None:
        wrong = digest_of(upload.content + data + b"!")
        answer = self.ask("PUT", f"{upload.location}?digest={wrong}", data)
        assert (answer.status, answer.code) == (
            (404, "BLOB_UPLOAD_UNKNOWN") if upload.over else (400, "DIGEST_INVALID")
        )
        upload.over = True

    @rule(upload=uploads, data=BYTES.filter(bool), shift=st.sampled_from([-3, -1, 1, 5]))
    def finish_out_of_order(self, upload: Upload, data: bytes, shift: int) -> None:
        start = max(0, len(upload.content) + shift)
        if start == len(upload.content):
            return
        told = {"Content_Range": f"{start}-{start + len(data) - 1}"}
        answer = self.ask("PUT", f"{upload.location}?digest={digest_of(upload.content + data)}", data, **told)
        assert answer.status == (404 if upload.over else 416)

    @rule(upload=uploads)
    def cancel(self, upload: Upload) -> None:
        assert self.ask("DELETE", upload.location).status == (404 if upload.over else 204)
        upload.over = True

    @rule(upload=uploads, repository=REPOSITORIES)
    def go_on_in_another_repository(self, upload: Upload, repository: str) -> None:
        if repository != upload.repository:
            name = upload.location.rpartition("/")[2]
            assert self.ask("PATCH", f"/v2/{repository}/blobs/uploads/{name}", b"x").status == 404

    @rule(target=contents, repository=REPOSITORIES, data=BYTES)
    def push_at_once(self, repository: str, data: bytes) -> bytes:
        digest = digest_of(data)
        assert self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data).status == 201
        self.model.of(repository)[digest] = data
        return data

    @rule(content=contents, source=st.none() | REPOSITORIES, repository=REPOSITORIES)
    def mount(self, content: bytes, source: str | None, repository: str) -> None:
        digest = digest_of(content)
        query = f"mount={digest}" + (f"&from={quote(source, safe='')}" if source else "")
        there = digest in self.model.of(source) if source else self.model.somewhere(digest)
        there = there or digest in self.model.of(repository)  # what it has already need not be anywhere else
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?{query}")
        if there:
            assert answer.status == 201
            self.model.of(repository)[digest] = content
        else:
            assert answer.status == 202
            self.open.append(Upload(repository, answer.headers["Location"]))

    @rule(content=contents, repository=REPOSITORIES)
    def delete(self, content: bytes, repository: str) -> None:
        there = self.model.of(repository).pop(digest_of(content), None)
        status = self.ask("DELETE", f"/v2/{repository}/blobs/{digest_of(content)}").status
        assert status == (404 if there is None else 202)

    @rule(content=contents, repository=REPOSITORIES, first=st.integers(0, 14), last=st.integers(0, 14))
    def read(self, content: bytes, repository: str, first: int, last: int) -> None:
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest_of(content)}", Range=f"bytes={first}-{last}")
        if digest_of(content) not in self.model.of(repository):
            assert answer.status == 404
        elif last < first or first >= len(content):
            assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
        else:
            assert (answer.status, answer.body) == (206, content[first : last + 1])

    @invariant()
    def every_upload_is_where_the_model_has_it(self) -> None:
        for upload in self.open[-3:]:
            answer = self.ask("GET", upload.location)
            assert answer.status == (404 if upload.over else 204)
            if not upload.over:
                assert answer.headers["Range"] == f"0-{max(0, len(upload.content) - 1)}"

    @invariant()
    def every_blob_is_where_the_model_has_it(self) -> None:
        for repository, blobs in self.model.blobs.items():
            for digest, content in list(blobs.items())[-3:]:
                assert self.ask("GET", f"/v2/{repository}/blobs/{digest}").body == content


def files(_bucket: Bucket) -> Callable[[], Storage | None]:
    return lambda: None


def memory(_bucket: Bucket) -> Callable[[], Storage | None]:
    kept = MemoryStorage()
    return lambda: kept


def objects(bucket: Bucket) -> Callable[[], Storage | None]:
    return lambda: bucket.open(redirect=False)


@pytest.mark.parametrize("storage", [files, memory, objects])
def test_any_order_of_requests_is_answered_as_the_model_says(
    bucket: Bucket, storage: Callable[[Bucket], Callable[[], Storage | None]]
) -> None:
    class OverStorage(RegistryMachine):
        def __init__(self) -> None:
            super().__init__(storage(bucket))

    run_state_machine_as_test(OverStorage, settings=settings(max_examples=6, stateful_step_count=25, deadline=None))


def pages(ask: Client, path: str, entries: str, size: int | None) -> list[Any]:
    """All entries, by following the links; no page is larger than was asked for."""
    found: list[Any] = []
    after: str | None = path + (f"?n={size}" if size is not None else "")
    while after:
        answer = ask("GET", after)
        assert answer.status == 200, answer.body
        page = json.loads(answer.body)[entries]
        assert size is None or len(page) <= size
        found += page
        link = answer.headers["Link"]
        assert page or not link
        after = link.partition(">")[0].removeprefix("<") if link else None
    return found


def push(ask: Client, repository: str, reference: str, **more: Any) -> str:
    """Push a small manifest; its digest."""
    digest = digest_of(CONFIG)
    assert ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", CONFIG).status == 201
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": len(CONFIG)}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], **more}
    body = json.dumps(manifest).encode()
    answer = ask("PUT", f"/v2/{repository}/manifests/{reference or digest_of(body)}", body, Content_Type=OCI_MANIFEST)
    assert answer.status == 201, answer.body
    return str(answer.headers["Docker-Content-Digest"])


TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}", fullmatch=True)
PART = st.from_regex(r"[a-z0-9]{1,3}(?:(?:\.|_|__|-{1,2})[a-z0-9]{1,3})?", fullmatch=True)
SIZES = st.none() | st.integers(1, 6)
quickly = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@quickly
@given(tags=st.sets(TAGS, min_size=1, max_size=12), size=SIZES, last=TAGS)
def test_all_tags_come_in_the_order_of_their_bytes_in_pages_of_any_size(
    ask: Client, tags: set[str], size: int | None, last: str
) -> None:
    repository = f"pages{uuid4().hex}"
    for tag in tags:
        push(ask, repository, tag)

    assert pages(ask, f"/v2/{repository}/tags/list", "tags", size) == sorted(tags)
    after = json.loads(ask("GET", f"/v2/{repository}/tags/list?last={last}").body)["tags"]
    assert after == [tag for tag in sorted(tags) if tag > last]


@quickly
@given(names=st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), max_size=4), size=SIZES)
def test_all_repositories_come_in_pages_of_any_size(ask: Client, names: list[str], size: int | None) -> None:
    for name in names:
        push(ask, name, "x")

    found = pages(ask, "/v2/_catalog", "repositories", size)

    assert found == sorted(set(found))
    assert set(names) <= set(found)


@quickly
@given(types=st.lists(st.sampled_from(["a/b", "c/d", "e/f"]), max_size=10), size=SIZES)
def test_all_referrers_come_in_pages_of_any_size_with_and_without_a_filter(
    ask: Client, types: list[str], size: int | None
) -> None:
    repository = f"referred{uuid4().hex}"
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(repository.encode()), "size": 1}
    pushed = {
        push(ask, repository, "", subject=subject, artifactType=kind, annotations={"n": str(n)}): kind
        for n, kind in enumerate(types)
    }

    path = f"/v2/{repository}/referrers/{subject['digest']}"
    found = pages(ask, path, "manifests", size)
    assert [entry["digest"] for entry in found] == sorted(pushed)
    answer = ask("GET", f"{path}?artifactType={quote('a/b', safe='')}")
    assert {entry["digest"] for entry in json.loads(answer.body)["manifests"]} == {
        digest for digest, kind in pushed.items() if kind == "a/b"
    }
