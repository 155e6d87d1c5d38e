"""How log lines look: text for people or JSON for machines, and never a secret.

This module formats and routes; what is logged, and when, docs/operate/logging.md says.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

#: Modules of ours follow `[log] level`; libraries speak up only when something is wrong.
PACKAGE = __name__.partition(".")[0]
LIBRARY_LEVEL = logging.WARNING

#: Characters of a session's id that are logged: enough to tell sessions apart.
SHORT_ID = 8

#: The record's attribute that holds what `Context` knows.
_CONTEXT = "live777_context"

_SECRETS = re.compile(
    r"""
      (?P<bearer> \b(?:bearer|basic)\s+ ) [\w.~+/=:-]+      # Authorization headers
    | (?P<query> [?&](?:token|access_token)= ) [^&\s"'<>]+  # query strings
    | (?P<userinfo> ://[^\s/@:"'<>]*: ) [^\s/@"'<>]+ (?=@)  # user:password@host
    | (?P<ice> a=ice-pwd: ) \S+                             # ICE credentials of an SDP
    """,
    re.IGNORECASE | re.VERBOSE,
)

#: Control characters; a stream's name must not begin a line of its own or move the cursor.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Context(logging.LoggerAdapter[logging.Logger]):
    """A logger that says which stream and session its lines are about.

    `Context(logger, stream="cam", session="4f2c")` puts `[stream cam] [session 4f2c]` before
    the message as text, and two members into the object as JSON.
    """

    def __init__(self, logger: logging.Logger, **context: str) -> None:
        super().__init__(logger, {})
        self.context: Mapping[str, str] = context

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Attach the context to the record."""
        extra = {**kwargs.get("extra", {}), _CONTEXT: self.context}
        return msg, {**kwargs, "extra": extra}


def session_logger(logger: logging.Logger, stream: str, session: str) -> Context:
    """A logger for the lines of one session.

    Of its id only the beginning is logged: whoever knows the whole may end the session.
    """
    return Context(logger, stream=stream, session=session[:SHORT_ID])


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO live777py.core.live [stream cam] message`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it the traceback if there is one."""
        context = "".join(f"[{k} {v}] " for k, v in _context(record).items())
        message = _CONTROLS.sub(_escape, context + record.getMessage())
        line = f"{_time(record)} {record.levelname} {record.name} {message}"
        traceback = _traceback(self, record)
        return redact(f"{line}\n{traceback}" if traceback else line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, stream, session, message, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; a member without a value is left out."""
        members = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_context(record),
            "message": redact(record.getMessage()),
            "traceback": redact(_traceback(self, record)),
        }
        return json.dumps({k: v for k, v in members.items() if v}, ensure_ascii=False)


def setup(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send all log lines of this process to one stream, in one format.

    Args:
        level: of our own lines: "debug", "info", "warning" or "error".
        format: "text" or "json".
        stream: where to; standard error unless said otherwise.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=LIBRARY_LEVEL, handlers=[handler], force=True)
    logging.getLogger(PACKAGE).setLevel(level.upper())
    # What aiohttp logs here are requests that are no HTTP, each with a traceback: the sender's
    # fault, and answered with 400. Faults of handlers are logged by the handlers.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)


def redact(text: str) -> str:
    """The text without tokens and passwords.

    The code does not log them; this is for what a library or an error message may quote.
    """
    return _SECRETS.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    return f"{match[match.lastgroup or 0]}***"


def _escape(match: re.Match[str]) -> str:
    # Not by the codec of that name, whose module may be read only now: with too many files open
    # it could not, and what is wrong would not be logged.
    return repr(match[0])[1:-1]


def _context(record: logging.LogRecord) -> Mapping[str, str]:
    context: Mapping[str, str] = getattr(record, _CONTEXT, {})
    return context


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [record.exc_text or ""]
    if record.exc_info and not record.exc_text:
        parts = [formatter.formatException(record.exc_info)]
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(part for part in parts if part)
