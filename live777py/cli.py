"""The command `live777py`: reads arguments and configuration, then does what is asked."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from live777py import __version__, descriptors, log, minting
from live777py.config import Config, load
from live777py.conformance import arguments as conformance
from live777py.core.stream import stream_name
from live777py.errors import ConfigError, InvalidName
from live777py.fleet import arguments as fleet
from live777py.loadtest import arguments as loadtest

if TYPE_CHECKING:
    from live777py.server import Server

#: Read when there is no -c, if it exists.
DEFAULT_FILE = Path("live777.toml")

#: Exit statuses: what failed while running, and what was wrong before.
FAILED = 1
MISUSED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the command's own name; those of the process by default.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for a wrong configuration.
    """
    options = _parser().parse_args(arguments)
    if options.command == "loadtest":
        return _load(options)
    if options.command == "conformance":
        return _conform(options)
    if options.command == "fleet":
        return _start_fleet(options)
    try:
        config = _configuration(_file(options.config))
        if options.command == "check":
            return _check(config)
        if options.command == "token":
            print(minting.token(options, config.auth))
            return 0
        return _serve(config, verbose=options.verbose)
    except ConfigError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return MISUSED
    except OSError as error:
        print(f"live777py: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        # Before the server listens for signals, or a second time while it stops.
        return INTERRUPTED


def announce(server: Server) -> None:
    """Print where the page is, where to publish and where to play."""
    best, *others = server.http_urls
    lines = [
        f"live777py {__version__} is serving",
        "",
        f"  page     {best}/",
        f"  publish  {best}/tools/publish.html?id=cam",
        f"           {best}/whip/cam (WHIP: OBS, FFmpeg, GStreamer)",
        f"  play     {best}/tools/player.html?id=cam",
        f"           {best}/whep/cam (WHEP players)",
    ]
    if others:
        lines += ["", f"  also at  {', '.join(others)}"]
    print("\n".join(lines), end="\n\n", flush=True)


def _configuration(path: Path | None) -> Config:
    """What the file and the environment say.

    Raises:
        ConfigError: with one line for every fault.
    """
    config = load(path, os.environ)
    faults = []
    for name in config.stream:
        try:
            stream_name(name)
        except InvalidName as error:
            where = "" if path is None else f"{path}: "
            faults.append(f"{where}stream.{json.dumps(name)}: {error}")
    if faults:
        raise ConfigError(*faults)
    return config


def _check(config: Config) -> int:
    """Say "ok" if the files that a configuration names can be used as well.

    Raises:
        ConfigError: with one line for every file that cannot.
    """
    # Imported here: most configurations name none.
    from live777py import tls
    from live777py.clients import jwks

    faults: list[str] = []
    try:
        if config.http.tls_cert:
            tls.Certificate(Path(config.http.tls_cert), Path(config.http.tls_key))
    except ConfigError as error:
        faults += error.faults
    try:
        if config.auth.jwks_file:
            asyncio.run(jwks.check_file(Path(config.auth.jwks_file)))
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(*faults)
    print("ok")
    return 0


def _serve(config: Config, *, verbose: bool) -> int:
    log.setup("debug" if verbose else config.log.level, config.log.format)
    descriptors.allow_many()
    # Imported here: `check` and `--version` answer without loading the media stack.
    from live777py import server

    return asyncio.run(server.run(config, ready=announce))


def _load(options: argparse.Namespace) -> int:
    from live777py.loadtest import command

    try:
        return command.main(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _conform(options: argparse.Namespace) -> int:
    from live777py.conformance import command

    try:
        return command.main(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _start_fleet(options: argparse.Namespace) -> int:
    from live777py.fleet import command

    try:
        return command.main(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _file(given: Path | None) -> Path | None:
    if given is None and DEFAULT_FILE.is_file():
        return DEFAULT_FILE
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="live777py",
        description="Live video by WHIP and WHEP, on one port.",
        epilog="Every key of the configuration can also be given as a variable, such as "
        "LIVE777_HTTP__LISTEN=127.0.0.1:8080.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"live777py {__version__}"
    )
    _add_options(parser, config=None, verbose=False)
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=parser.prog
    )
    parser.set_defaults(command="serve")
    for command, purpose in (
        ("serve", "serve until Ctrl-C or SIGTERM; the default"),
        ("check", "say what is wrong with the configuration, and do not serve"),
    ):
        # SUPPRESS: the option's absence here does not undo the one before the command.
        _add_options(
            commands.add_parser(
                command,
                help=purpose,
                description=_sentence(purpose),
                allow_abbrev=False,
            ),
            config=argparse.SUPPRESS,
            verbose=argparse.SUPPRESS,
        )
    token = commands.add_parser(
        "token",
        help=minting.PURPOSE,
        description=_sentence(minting.PURPOSE),
        allow_abbrev=False,
    )
    _add_options(token, config=argparse.SUPPRESS, verbose=argparse.SUPPRESS)
    minting.add_arguments(token)
    loadtest.add_arguments(
        commands.add_parser("loadtest", help=loadtest.PURPOSE, allow_abbrev=False)
    )
    conformance.add_arguments(
        commands.add_parser("conformance", help=conformance.PURPOSE, allow_abbrev=False)
    )
    fleet.add_arguments(
        commands.add_parser("fleet", help=fleet.PURPOSE, allow_abbrev=False)
    )
    return parser


def _sentence(purpose: str) -> str:
    return f"{purpose[0].upper()}{purpose[1:]}."


def _add_options(
    parser: argparse.ArgumentParser, *, config: str | None, verbose: str | bool
) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=config,
        help=f"the configuration; without it ./{DEFAULT_FILE} if it exists",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=verbose,
        help="log the protocol too, as [log] level debug does",
    )
