"""The options of `live777py fleet`; light enough to be read at every start."""

from __future__ import annotations

import argparse
from pathlib import Path

PURPOSE = "start several nodes from one file, to try things out"

_DESCRIPTION = """\
Starts nodes, each a process of its own, on free ports of this machine, and tells where they
are. It stops them all when it is stopped itself. For trying things out and for tests."""

_EPILOG = """\
the file (TOML):
  [common]                what all nodes have: any tables of a configuration, [common.log]
  [node.NAME]             a node, and what differs for it: [node.edge.webrtc]
  "${NAME.url}"           in any string: the base URL of another node; $${ for a literal ${

  Ports are chosen where neither [http] listen nor [webrtc] listen says one. Variables such as
  LIVE777_HTTP__LISTEN are not passed on. Paths are relative to the working directory.

What nodes log is on standard error, each line behind its node's name. A node that ends by itself
is not started again. All end with this command, on Linux also when it is killed.

Exit status: 0 after Ctrl-C or SIGTERM; 1 when a node did not start, or ended by itself; 2 when
the file is wrong. A second Ctrl-C kills what has not stopped yet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the fleet."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="the nodes; without it an example: an origin and two edges",
    )
    add("--example", action="store_true", help="print the file of the example, and end")
    add(
        "--exit-on-failure",
        action="store_true",
        help="stop all nodes when one ends by itself; without it the others go on",
    )
    add(
        "--json",
        action="store_true",
        help="tell where the nodes are as one line of JSON, for programs",
    )
    add(
        "-v",
        "--verbose",
        action="store_true",
        # Its absence here does not undo the one before the command.
        default=argparse.SUPPRESS,
        help="let nodes log the protocol too",
    )
