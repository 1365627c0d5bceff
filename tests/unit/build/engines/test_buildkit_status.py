"""What one call has told, the next one does not tell again."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog
from lumper.build.engines.buildkit.status import Told


def log(nanos: int, vertex: str = "v", stream: int = 1) -> VertexLog:
    return VertexLog(vertex=vertex, stream=stream, timestamp=Timestamp(nanos=nanos), msg=b"%d\n" % nanos)


def step(started: int, completed: int | None = None) -> Vertex:
    ended = None if completed is None else Timestamp(nanos=completed)
    return Vertex(digest="v", name="RUN make", started=Timestamp(nanos=started), completed=ended)


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([1, 3, 40]))
def test_calls_that_overlap_tell_everything_once(stuck: int, begins: int, size: int) -> None:
    told = Told()
    heard: list[VertexLog] = []
    events = [log(n, f"v{n % 3}", 1 + n % 2) for n in range(30)]
    for part in (events[:stuck], events[min(begins, stuck) :]):
        for at in range(0, len(part), size):
            heard += told.new(StatusResponse(logs=part[at : at + size])).logs
        told.again()
    assert sorted(heard, key=lambda log: log.timestamp.nanos) == events


def test_a_step_that_has_ended_does_not_begin_again_because_a_call_repeats_it() -> None:
    told = Told()
    assert told.new(StatusResponse(vertexes=[step(1), step(1, 2)])).vertexes
    told.again()
    assert not told.new(StatusResponse(vertexes=[step(1)])).vertexes
    assert told.new(StatusResponse(vertexes=[step(3)])).vertexes == [step(3)]
