from __future__ import annotations

import json
from pathlib import Path

from lumper.line.logs.logs import FolderLogs, Logs
from lumper.model.builds.build import Output, Step, StepState
from lumper.model.builds.log import from_line, to_line
from lumper.web.log_lines import LONGEST, text_of, whole_blocks


async def written(folder: Path, *lines: str) -> tuple[Logs, bytes]:
    logs, data = FolderLogs(folder), "".join(lines).encode()
    await logs.append(1, 1, 0, data)
    return logs, data


async def whole_lines(logs: Logs, offset: int = 0) -> list[tuple[int, bytes]]:
    """Each line, behind the offset at which the next one begins."""
    lines = []
    async for end, block in whole_blocks(logs, 1, 1, offset):
        each = block.split(b"\n")
        at = end - len(block) - 1
        for line in each:
            at = at + len(line) + 1 if len(each) > 1 else end
            lines.append((at, line))
    return lines


async def test_every_line_comes_with_the_offset_behind_it(tmp_path: Path) -> None:
    lines = [to_line(Output(1, 1, 0.5, f"line {i} " + "x" * i)) for i in range(3000)]
    logs, data = await written(tmp_path, *lines)
    found = await whole_lines(logs)
    assert [line.decode() + "\n" for _, line in found] == lines
    assert found[-1][0] == len(data)
    middle = found[1234][0]
    assert await whole_lines(logs, middle) == found[1235:]


async def test_half_a_line_is_not_told_yet(tmp_path: Path) -> None:
    whole = to_line(Output(1, 1, 0.5, "whole"))
    logs, _ = await written(tmp_path, whole, '{"s":1,"o":1,"x":"ha')
    assert [end for end, _ in await whole_lines(logs)] == [len(whole)]


async def test_a_monstrous_line_is_cut_for_showing_and_the_next_one_is_whole(tmp_path: Path) -> None:
    monster = to_line(Output(3, 2, 0.5, '\u00e4"\\' * 400_000))
    logs, data = await written(tmp_path, monster, to_line(Output(3, 1, 0.6, "after")))
    (first_end, first), (last_end, last) = await whole_lines(logs)
    shown = from_line(first)
    assert isinstance(shown, Output)
    assert (shown.number, shown.stream) == (3, 2)
    assert shown.text.startswith('\u00e4"\\\u00e4"\\')
    assert f"{len(monster) - 1:,} bytes" in shown.text
    assert len(first) < LONGEST + 200
    assert (first_end, last_end) == (len(monster), len(data))
    assert json.loads(last)["x"] == "after"


async def test_a_long_line_that_is_no_record_is_said_to_be_none(tmp_path: Path) -> None:
    logs, _ = await written(tmp_path, "y" * (LONGEST + 9) + "\n")
    ((_, line),) = await whole_lines(logs)
    assert "no record" in json.loads(line)["x"]


async def test_the_text_names_a_step_once_however_long_its_output(tmp_path: Path) -> None:
    begin, end = Step(1, "RUN make", StepState.RUNNING, 0.0), Step(1, "RUN make", StepState.DONE, 9.0)
    outputs = [to_line(Output(1, 1, 1.0, f"<b>{i}</b>")) for i in range(1200)]
    logs, _ = await written(tmp_path, to_line(begin), to_line(begin), *outputs, "broken\n", to_line(end))
    text = b"".join([part async for part in text_of(logs, 1, 1)]).decode()
    assert text.startswith("00:00:00  #1 RUN make\n00:00:01  #1 <b>0</b>\n")
    assert text.endswith("#1 <b>1199</b>\n00:00:09  #1 DONE RUN make\n")
    assert len(text.splitlines()) == 1202


async def test_characters_that_utf_8_does_not_have_do_not_break_the_text(tmp_path: Path) -> None:
    logs, _ = await written(tmp_path, to_line(Output(1, 1, 1.0, "lone \ud800 surrogate")))
    assert "lone \ufffd surrogate" in b"".join([part async for part in text_of(logs, 1, 1)]).decode()
    assert b"lone ? surrogate" in b"".join([part async for part in text_of(logs, 1, 1, raw=True)])


async def test_the_text_has_all_of_a_long_line_and_no_sequence_unless_it_is_raw(tmp_path: Path) -> None:
    printed = "x" * 1_000_000 + "\x1b[2J\x1b]0;title\x07\ta\rb"
    logs, _ = await written(
        tmp_path, to_line(Output(1, 1, 1.0, "\x1b[31m" + "y" * 500_000)), to_line(Output(1, 1, 1.0, printed))
    )
    text = b"".join([part async for part in text_of(logs, 1, 1)]).decode()
    assert text.splitlines() == ["00:00:01  #1 " + "y" * 500_000, "00:00:01  #1 b"]
    raw = b"".join([part async for part in text_of(logs, 1, 1, raw=True)]).decode()
    assert raw.endswith(f"00:00:01  #1 {printed}\n")
