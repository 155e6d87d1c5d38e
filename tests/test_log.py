"""What log lines look like, and that they keep secrets."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import live777py
from live777py import log
from live777py.log import Context, redact, session_logger


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("live777py")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    # force=True closes what it replaces; pytest's own handlers are kept out of its way.
    root.handlers.clear()
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("live777py.core.live")


def test_a_text_line_has_time_level_logger_and_message(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "text", stream)
    logger.info("published by %s", "OBS")
    time, level, name, message = stream.getvalue().split(" ", 3)
    assert time.endswith("Z")
    assert (level, name) == ("INFO", "live777py.core.live")
    assert message == "published by OBS\n"


def test_a_session_is_named_before_the_message(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "text", stream)
    session_logger(logger, "cam", "4f2c8a9b01234567").info("ended: closed by peer")
    assert stream.getvalue().endswith(
        "[stream cam] [session 4f2c8a9b] ended: closed by peer\n"
    )


def test_json_lines_are_objects_with_the_context_as_members(
    logger: logging.Logger,
) -> None:
    stream = io.StringIO()
    log.setup("info", "json", stream)
    session_logger(logger, "cäm", "4f2c").warning("no key frame for %d s", 5)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "live777py.core.live",
        "stream": "cäm",
        "session": "4f2c",
        "message": "no key frame for 5 s",
    }


def test_a_traceback_follows_the_line_as_text(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "text", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("it failed")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: broken"


def test_a_traceback_is_a_member_as_json(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed", stack_info=True)
    [line] = stream.getvalue().splitlines()
    traceback = json.loads(line)["traceback"]
    assert "ValueError: broken" in traceback
    assert "Stack (most recent call last)" in traceback


def test_a_traceback_that_was_formatted_before_is_used(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "text", stream)
    record = logger.makeRecord("live777py", logging.ERROR, "", 0, "it failed", (), None)
    record.exc_text = "as it was"
    logger.handle(record)
    assert stream.getvalue().endswith("it failed\nas it was\n")


def test_a_message_cannot_begin_a_line_of_its_own(logger: logging.Logger) -> None:
    stream = io.StringIO()
    log.setup("info", "text", stream)
    Context(logger, stream="cam\n2026 ERROR forged").info("hello\x1b[2J")
    assert stream.getvalue().endswith(
        "[stream cam\\n2026 ERROR forged] hello\\x1b[2J\n"
    )


def test_our_lines_follow_the_level_and_those_of_libraries_do_not(
    logger: logging.Logger,
) -> None:
    stream = io.StringIO()
    log.setup("debug", "text", stream)
    logger.debug("protocol")
    logging.getLogger("aioice").info("chatter")
    logging.getLogger("aioice").warning("trouble")
    lines = stream.getvalue().splitlines()
    assert [line.split(" ", 3)[3] for line in lines] == ["protocol", "trouble"]


def test_setting_up_again_replaces_the_first(logger: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    log.setup("info", "text", first)
    log.setup("error", "text", second)
    logger.warning("quiet")
    logger.error("loud")
    assert first.getvalue() == ""
    assert second.getvalue().endswith("loud\n")


def test_warnings_of_python_are_logged() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.setup("info", "text", stream)
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    assert "WARNING py.warnings" in stream.getvalue()
    assert "this is old" in stream.getvalue()


def test_it_writes_to_standard_error_unless_told_otherwise(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup("info", "text")
    logger.info("hello")
    assert capsys.readouterr().err.endswith("hello\n")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def-1_2=", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcg==", "authorization: basic ***"),
        ("GET /whep/cam?token=abc&x=1", "GET /whep/cam?token=***&x=1"),
        ("whip://user:pass@host/x", "whip://user:***@host/x"),
        ("whep://:pass@host/x", "whep://:***@host/x"),
        ("a=ice-pwd:abcdef0123456789", "a=ice-pwd:***"),
        ("http://host:7777/whip/cam", "http://host:7777/whip/cam"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_are_masked(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("format_", ["text", "json"])
def test_secrets_are_masked_in_messages_and_tracebacks(
    logger: logging.Logger, format_: str
) -> None:
    stream = io.StringIO()
    log.setup("info", format_, stream)
    try:
        raise ValueError("cannot reach whip://user:s3cret@host/")
    except ValueError:
        logger.exception("refused Bearer %s", "s3cret")
    assert "s3cret" not in stream.getvalue()


def test_other_extras_of_a_record_are_kept(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().addHandler(caplog.handler)
    Context(logger, stream="cam").error("hello", extra={"viewers": 3})
    [record] = caplog.records
    assert vars(record)["viewers"] == 3


#: Logs a line with a control character when no file may be opened any more.
STARVED = """
import logging, resource
from live777py import log
log.setup("info", "text")
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
logging.getLogger("live777py").info("one\\ntwo \\x1b \\u2028")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_lines_are_logged_when_no_file_may_be_opened() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(live777py.__file__).parents[1])},
    )
    [line] = done.stderr.splitlines()
    assert line.endswith(r"INFO live777py one\ntwo \x1b \u2028")
