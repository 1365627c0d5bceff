"""What Lumper itself logs: events with fields, on standard error, on top of the standard library's logging.

A library for this, structlog, would bring rich, pygments and greenlet into every process: 5 MB, an eighth of the start.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_COLOURS = {"debug": 32, "info": 32, "warning": 33, "error": 31}
_FIELDS = "fields"


class Log:
    """Where the events of one module go. An event is a sentence without its variable parts, which are fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """What only who looks for an error wants to know."""
        self._log(logging.DEBUG, event, None, fields)

    def info(self, event: str, **fields: object) -> None:
        """What has been done."""
        self._log(logging.INFO, event, None, fields)

    def warning(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """What went wrong, and is tried again or done without."""
        self._log(logging.WARNING, event, exc_info, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """What went wrong for good."""
        self._log(logging.ERROR, event, exc_info, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, sys.exception(), fields)

    def _log(self, level: int, event: str, exc: BaseException | None, fields: dict[str, object]) -> None:
        self._logger.log(level, event, exc_info=exc, extra={_FIELDS: fields})


class Lines(logging.Formatter):
    """For people: the time, the level, the event and its fields on one line, whatever is in them."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Raises nothing: what cannot be shown is a bug of its `__repr__`."""
        level = record.levelname.lower()
        head, event = f"[{level:9}]", record.getMessage()
        if self._colours:
            head, event = f"[\x1b[{_COLOURS.get(level, 31)}m{level:9}\x1b[0m]", f"\x1b[1m{event}\x1b[0m"
        fields = " ".join(f"{name}={_shown(value)}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{_time(record)} {head} {event:30} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """For programs: a JSON object a line, the fields beside `event`, `level`, `timestamp` and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """What JSON does not know is told as text."""
        told = {
            **getattr(record, _FIELDS, {}),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": _time(record),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=repr)


def get_logger(name: str) -> Log:
    """The log of the module of this name. Before `set_up`, only the sentences of warnings and errors are shown."""
    return Log(name)


def set_up(level: str, form: str) -> None:
    """Log events of `level` and above to standard error, as "console" lines or as "json"."""
    number = getattr(logging, level.upper())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Lines(colours=sys.stderr.isatty()))
    ours = logging.getLogger("lumper")
    ours.handlers = [handler]
    ours.setLevel(number)
    ours.propagate = False
    for library in ("aiormq", "aio_pika"):  # they print tracebacks of outages that the roles tell of in a line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(is_ours)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a record of the HTTP server is about itself: what is no HTTP, or breaks off, is the client's doing.

    The parser's error quotes the line that it stopped at, which may be one with credentials.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConnectionResetError):  # a push that somebody ended by Ctrl-C; adapters raise errors of ours
        return False
    return not any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _shown(value: object) -> str:
    """A value that can be told from what follows it, and cannot begin a line of its own."""
    if not isinstance(value, str):
        text = repr(value)
        return text if text.isprintable() else repr(text)
    plain = value.isprintable() and not set(value) & set(" ='\"")
    return value if value and plain else repr(value)
