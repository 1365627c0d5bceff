"""Whoever may push a tag writes its name and message, the author, the commit's message: none of it does anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from parts.line.line import Line
from parts.web.first_user import pages

pytestmark = pytest.mark.docker

EVIL = "</script><script>alert(1)</script>"
LINES = "\r\nBcc: evil@example.org\r\n\r\n\x1b[2J\x1b]8;;javascript:alert(1)\x07"
NAME = "Mara\rBcc: evil@example.org\x1b[2J & co"
TAG = f"v1.2.3-{EVIL}"


class Scripts(HTMLParser):
    """What a page would run: the text within its scripts, and attributes that are handlers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag == "script"
        self.found += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]

    def handle_endtag(self, tag: str) -> None:
        self._within = False

    def handle_data(self, data: str) -> None:
        if self._within and data.strip():
            self.found.append(data)


def hostile_release(line: Line) -> int:
    """Push an annotated tag of a commit, both written by hand, as no git would; the build's id."""
    repository = line.project.repository
    made = repository.git("cat-file", "commit", line.project.commit())
    tree = made.partition("\n")[0]
    who = f"{NAME} <mara@example.org> 1700000000 +0000"
    text = f"{tree}\nauthor {who}\ncommitter {who}\n\n{EVIL}{LINES}\n"
    commit = repository.git("hash-object", "-w", "-t", "commit", "--literally", "--stdin", data=text.encode())
    text = f"object {commit}\ntype commit\ntag {TAG}\ntagger {who}\n\n{EVIL}{LINES}\n"
    tag = repository.git("hash-object", "-w", "-t", "tag", "--literally", "--stdin", data=text.encode())
    repository.git("update-ref", f"refs/tags/{TAG}", tag)
    repository.git("update-server-info")
    answer = line.project.deliver(f"refs/tags/{TAG}", tag)
    assert (answer.status, answer.verdict) == (202, "build"), answer
    return answer.builds[0]


def test_words_of_strangers_are_words_in_pages_mails_logs_and_labels(line: Line) -> None:
    build = line.succeeded(hostile_release(line))
    assert build["author"]["name"].startswith("Mara")
    assert build["tags"] == ["v1.2.3--script-script-alert-1-script-"]

    browser = pages(line.lumper)
    for path in ("/", f"/builds/{build['id']}", f"/images/{build['image']}", f"/projects/{build['project']}", "/mail"):
        with browser.open(line.lumper.url + path, timeout=60) as response:
            page = response.read().decode()
        assert Scripts(page).found == [], path
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]

    mail = line.mail(f"{line.project.name} v1.2.3")
    assert mail["Bcc"] is None
    assert len(mail.get_all("To") or ()) == 1
    for part in mail.walk():
        if part.get_content_maintype() == "text":
            assert not re.search(r"^Bcc:|[\x00-\x08\x0b-\x1f]", part.get_content().replace("\r\n", "\n"), re.MULTILINE)

    for said in (line.text(build["id"]), line.lumper.said):
        assert not re.search(r"^Bcc:|\r|\x1b\[2J", said, re.MULTILINE)
    labels = line.image().config(build["tags"][0])["config"]["Labels"]
    assert all(value.isprintable() for value in labels.values()), labels
