"""What Lumper itself logs: structured events on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up(level: str, form: str) -> None:
    """Log events of `level` and above to standard error, as "console" lines or as "json"."""
    number = getattr(logging, level.upper())
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        # Plain tracebacks: the rich ones show local variables, and these may hold secrets.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for library in ("aiormq", "aio_pika"):  # they print tracebacks of outages that the roles tell of in a line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(is_ours)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a record of the HTTP server is about itself: what is no HTTP is the client's fault.

    The parser's error quotes the line that it stopped at, which may be one with credentials.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)
