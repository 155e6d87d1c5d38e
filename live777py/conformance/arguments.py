"""The options of `live777py conformance`; light enough to be read at every start."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from live777py.conformance.options import Options, has_placeholder
from live777py.notation import parse_token, parse_url

PURPOSE = "check any WHIP/WHEP server against the specifications"

_DESCRIPTION = """\
Runs 71 checks of RFC 9725 (WHIP) and draft-ietf-wish-whep-03 (WHEP) against a server, as a
black box: real HTTP, and real ICE, DTLS and media where a check needs them. Nothing is sent
anywhere but to the given URLs and to the ICE candidates of their answers, at fewer than 50
requests a second; every session is deleted in the end. A run takes up to two minutes."""

_EXAMPLES = """\
stream names:
  Each check uses a stream of its own. "{n}" in a URL, or in the token, stands for a random
  name; a URL without it gets "-" and that name appended to its path: /whip/cam becomes
  /whip/cam-1f3a901. With --fixed the URLs are used as they are, for servers whose streams have
  to exist: nobody else may publish there meanwhile. With --whep alone the stream has to be live.

examples:
  live777py conformance --whip http://127.0.0.1:7777/whip/cam --whep http://127.0.0.1:7777/whep/cam
  live777py conformance --whip 'http://a.example:8889/{n}/whip' \\
                        --whep 'http://a.example:8889/{n}/whep'
  live777py conformance --whip http://a.example/api/whip --whep http://a.example/api/whep \\
                        --token 'key{n}' --json

levels:
  MUST and SHOULD are those of the two documents (MUST also where they rest on another one),
  MAY is an option that is checked where the server has it, HTTP a rule of HTTP itself, and
  practice what clients in the field need.

Exit status: 0; 1 when a MUST fails (with --strict also a SHOULD) or the server does not
answer; 2 when it was called wrongly; 130 when it was interrupted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the conformance checks."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--whip", metavar="URL", type=_of(parse_url), help="the WHIP endpoint")
    add("--whep", metavar="URL", type=_of(parse_url), help="the WHEP endpoint")
    add(
        "--token",
        metavar="TOKEN",
        type=_of(parse_token),
        help="bearer token for all requests",
    )
    add(
        "--fixed",
        action="store_true",
        help="use the URLs as they are, one stream for all checks, one after the other",
    )
    add(
        "--strict",
        action="store_true",
        help="exit with status 1 also when a SHOULD fails",
    )
    add("--json", action="store_true", help="print one JSON object instead of a table")


def options(arguments: argparse.Namespace) -> Options:
    """What the parsed arguments ask for.

    Raises:
        ValueError: they do not go together; the message says why.
    """
    given = Options(
        whip=arguments.whip,
        whep=arguments.whep,
        token=arguments.token,
        is_fixed=arguments.fixed,
    )
    if given.whip is None and given.whep is None:
        raise ValueError("say where: --whip URL, --whep URL or both")
    if given.is_fixed and has_placeholder(given):
        raise ValueError("--fixed uses URLs and token as they are: leave {n} out")
    if given.whip is None and has_placeholder(given):
        raise ValueError("{n} needs --whip: who would publish those streams?")
    return given


def _of(parse: Callable[[str], str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
