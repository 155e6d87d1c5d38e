"""`live777py token`: its arguments, and the token that they ask for."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from live777py.config import Auth
from live777py.core.access import ANY_STREAM, Right
from live777py.core.stream import stream_name
from live777py.errors import ConfigError, InvalidName
from live777py.notation import parse_duration

PURPOSE = "make a token that may publish, watch or manage a stream"

#: Longer than anybody means, and short enough for every reader's arithmetic.
MAX_SECONDS = 100 * 365 * 86_400

_RIGHTS = {
    "publish": Right.PUBLISH,
    "subscribe": Right.SUBSCRIBE,
    "admin": Right.MANAGE,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument(
        "--stream",
        metavar="NAME",
        type=_stream,
        required=True,
        help="the stream that it is for; '*' for all, and for the node itself",
    )
    parser.add_argument("--publish", action="store_true", help="it may publish (WHIP)")
    parser.add_argument("--subscribe", action="store_true", help="it may watch (WHEP)")
    parser.add_argument(
        "--admin", action="store_true", help="it may manage: delete, cascade, list"
    )
    parser.add_argument(
        "--expires",
        metavar="TIME",
        type=_duration,
        default=3600.0,
        help="how long it is good: 30m, 12h, 7d; without it 1h",
    )
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        type=Path,
        help="a file that holds the secret, rather than the configuration's [auth] secret",
    )


def token(options: argparse.Namespace, auth: Auth) -> str:
    """The token that the arguments ask for.

    Raises:
        ConfigError: there is no secret to sign it with, or nothing that it may do.
    """
    rights = Right(0)
    for name, right in _RIGHTS.items():
        if getattr(options, name):
            rights |= right
    if not rights:
        raise ConfigError(
            "the token could do nothing: add --publish, --subscribe or --admin"
        )
    # Imported here: the command's other tasks do without cryptography.
    from live777py import tokens

    secret = _secret(options.secret_file, auth)
    expires = tokens.expiry(options.expires)
    return tokens.mint(secret, options.stream, rights, expires=expires)


def _secret(file: Path | None, auth: Auth) -> str:
    if file is None:
        secret = auth.secret.get_secret_value()
        if not secret:
            raise ConfigError(
                "there is no secret to sign a token with. Put one into the configuration, "
                "and restart the server:",
                "",
                "[auth]",
                f'secret = "{secrets.token_urlsafe(32)}"',
            )
        return secret
    try:
        secret = file.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    if not secret:
        raise ConfigError(f"{file}: is empty: put the server's [auth] secret into it")
    return secret


def _stream(text: str) -> str:
    try:
        return text if text == ANY_STREAM else stream_name(text)
    except InvalidName as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 1 <= seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError("must be a second at least, 100 years at most")
    return seconds
