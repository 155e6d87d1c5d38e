"""`live777py fleet`: several nodes from one file, for tests and for trying things out."""

from live777py.fleet.plan import Plan
from live777py.fleet.run import Node, NodeFailed, parse, running

__all__ = ["Node", "NodeFailed", "Plan", "parse", "running"]
