"""No form of a secret gets into a log, however it is cut, coloured or encoded."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.builds.build import Output, Progress, Step, StepState
from lumper.model.builds.masking import LONGEST, MASK, Masker
from parts.suite.pace import takes_less_than

SECRET = 's3cr3t/To+ken&q"uote=='

secrets = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cc", "Cf"), exclude_characters="*"),
    min_size=4,
    max_size=40,
)
# Longer ones first, so that none is left over where another one is taken out.
UNSEEN = [
    "\x1bPq\x1b\\",
    "\x1b]0;t\x07",
    "\x9d0;t\x9c",
    "\x1b[31m",
    "\x1b[0m",
    "\x9b1m",
    "\0",
    "\r",
    "\u200b",
    "\u202e",
]


def forms(secret: str) -> list[str]:
    """What programs make of it."""
    raw = secret.encode()
    spelt = [(n, base64.b64encode(b"xy"[:n] + raw + b"zz"[:m]).decode()) for n in range(3) for m in range(3)]
    # The characters that none of the neighbours' bits are in.
    inner = [one[(8 * n + 5) // 6 : 8 * (n + len(raw)) // 6] for n, one in spelt]
    return [
        secret,
        base64.b64encode(raw).decode(),
        *inner,
        *(one.replace("+", "-").replace("/", "_") for one in inner),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        raw.hex(),
        raw.hex().upper(),
    ]


def shown(masker: Masker, lines: list[str], batch: int = 1) -> list[str]:
    records: list[Progress] = [Output(1, 1, 0.0, line) for line in lines]
    told = [one for at in range(0, len(records), batch) for one in masker.feed(records[at : at + batch])]
    outputs = [record for record in [*told, *masker.finish()] if isinstance(record, Output)]
    return [line for output in outputs for line in output.text.split("\n")]


@given(secrets, st.text(max_size=9), st.text(max_size=9))
def test_no_form_survives(secret: str, before: str, after: str) -> None:
    masker = Masker([secret])
    for form in forms(secret):
        assert form not in "".join(shown(masker, [f"{before} {form} {after}"]))
        assert form not in masker.mask(f"{before}{form}{after}")


@given(secrets, st.data())
def test_no_form_survives_line_ends_and_colours(secret: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(forms(secret)))
    cut = st.sampled_from(["", "", "", "\n", *UNSEEN])
    text = "".join(char + data.draw(cut) for char in form)
    lines = shown(Masker([secret]), ["before", *f"say {text} now".split("\n"), "after"])
    whole = "".join(lines).replace(MASK, "")
    for unseen in UNSEEN:
        whole = whole.replace(unseen, "")
    assert f"say {form} now" not in whole
    assert (lines[0], lines[-1]) == ("before", "after")


@given(st.lists(st.text("ab\x1bs3crt[1m", max_size=12), max_size=12), st.integers(1, 12))
def test_batches_of_any_size_give_the_same_lines(lines: list[str], batch: int) -> None:
    lines = [line for text in lines for line in (text, SECRET[:9], SECRET[9:], text + SECRET)]
    assert shown(Masker([SECRET, "3crt"]), lines, batch) == shown(Masker([SECRET, "3crt"]), lines, 1)


@given(st.lists(st.lists(st.text("ab\x1bs3crt[1m]\x07", max_size=12), min_size=1, max_size=5), max_size=9))
def test_lines_that_come_together_are_masked_as_lines_that_come_one_by_one(blocks: list[list[str]]) -> None:
    blocks = [[*block, f"{SECRET}{block[0]}{SECRET[:9]}", SECRET[9:12], "", SECRET[12:]] for block in blocks]
    together = shown(Masker([SECRET, "3crt"]), ["\n".join(block) for block in blocks])
    assert together == shown(Masker([SECRET, "3crt"]), [line for block in blocks for line in block])


def test_a_line_without_a_secret_is_passed_on_at_once() -> None:
    record = Output(1, 1, 0.0, "nothing \x1b[32mhere\x1b[0m")
    assert Masker([SECRET]).feed([record]) == [record]


def test_what_may_begin_a_secret_waits_for_the_next_line_or_the_end_of_its_step() -> None:
    masker = Masker([SECRET])
    assert masker.feed([Output(1, 1, 0.0, f"at {SECRET[:10]}")]) == []
    assert masker.feed([Output(2, 1, 0.0, "another step")]) == [Output(2, 1, 0.0, "another step")]
    done = Step(1, "RUN", StepState.DONE, 1.0)
    assert masker.feed([done]) == [Output(1, 1, 0.0, f"at {SECRET[:10]}"), done]


def test_a_secret_over_three_lines_is_hidden_in_each() -> None:
    assert shown(Masker([SECRET]), [f"x {SECRET[:8]}", SECRET[8:12], f"{SECRET[12:]} y"]) == ["x ***", "***", "*** y"]


def test_a_blank_line_within_a_secret_stays_blank() -> None:
    assert shown(Masker([SECRET]), [SECRET[:8], "", "\x1b[m", SECRET[8:]]) == [MASK, "", "\x1b[m", MASK]


def test_what_only_begins_as_a_secret_holds_up_no_line_but_the_last() -> None:
    block = Output(1, 1, 0.0, "\n".join([f"{SECRET[:6]} and no more"] * 3))
    assert Masker([SECRET]).feed([block]) == [block]


def test_blank_lines_without_end_are_not_held_for_ever() -> None:
    masker = Masker([SECRET])
    passed = sum(len(masker.feed([Output(1, 1, 0.0, text)])) for text in [SECRET[:8], *[""] * 5000])
    assert passed > 4000


def test_base64_that_is_wrapped_at_76_columns_is_hidden() -> None:
    secret = "".join(chr(33 + i * 7 % 90) for i in range(300))
    lines = base64.encodebytes(b"user:" + secret.encode()).decode().splitlines()
    told = shown(Masker([secret]), lines)
    assert set(told[1:]) == {MASK}
    assert told[0] == base64.b64encode(b"user:").decode()[:6] + MASK


def test_each_line_of_a_key_is_a_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0\nTm90IGEga2V5IGF0IGFsbA\n-----END KEY-----\n"
    assert shown(Masker([key]), ["  Tm90IGEga2V5IGF0IGFsbA."]) == ["  ***."]


def test_where_a_terminal_shows_nothing_a_secret_is_hidden_too() -> None:
    (line,) = shown(Masker([SECRET]), [f"\x1b]8;;https://{SECRET}@x\x07link\x1b]8;;\x07"])
    assert SECRET not in line


def test_names_errors_and_hints_are_masked() -> None:
    (step,) = Masker([SECRET]).feed([Step(1, f"RUN echo {SECRET}", StepState.FAILED, 0.0, f"no {quote(SECRET)}")])
    assert isinstance(step, Step)
    assert (step.name, step.error) == ("RUN echo ***", "no ***")


def test_html_and_json_forms() -> None:
    masker = Masker([SECRET])
    assert masker.mask(html.escape(SECRET)) == MASK
    assert masker.mask(json.dumps({"a": SECRET})) == '{"a": "***"}'


@pytest.mark.parametrize("short", ["abc", "  x ", "\n\n\n\n\n"])
def test_a_short_secret_is_not_masked_and_that_is_told(short: str) -> None:
    masker = Masker()
    assert "fewer than 4" in masker.add(short, "the secret NAME")
    assert masker.mask("abc x") == "abc x"


def test_of_a_long_secret_the_beginning_is_masked_and_that_is_told() -> None:
    masker = Masker()
    secret = "".join(str(number) for number in range(20_000))
    assert "only the first" in masker.add(secret, "the secret BIG")
    assert masker.mask(secret) == MASK + secret[LONGEST:]


def test_masking_is_quick() -> None:
    """20,000 lines a second even on a machine that does five other things; bench/log.py measures it."""
    masker = Masker(base64.b85encode(bytes([n, *range(24)])).decode() for n in range(10))
    records: list[Progress] = [
        Output(1, 1, 0.0, f"[{n}] cc -O2 -c src/module_{n}.c -o build/module.o") for n in range(40_000)
    ]
    with takes_less_than(2):
        for at in range(0, len(records), 500):
            masker.feed(records[at : at + 500])


def test_a_space_that_is_no_ascii_is_a_character_of_the_secret() -> None:
    masker = Masker(["000\xa0"])
    assert masker.mask("it is 000\xa0, and no 000") == f"it is {MASK}, and no 000"
