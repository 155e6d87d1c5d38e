"""The configuration: a TOML file, over it the environment, checked by pydantic.

Parts of the server receive their section, never the whole `Config`.
"""

from live777py.config.loading import ENVIRONMENT_PREFIX, OTHER_VARIABLES, load
from live777py.config.sections import (
    Admission,
    Auth,
    Config,
    DeclaredStream,
    Edge,
    Http,
    IceServer,
    Log,
    Node,
    RemoteServer,
    Section,
    Strategy,
    StreamStrategy,
    Webhook,
    Webrtc,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "OTHER_VARIABLES",
    "Admission",
    "Auth",
    "Config",
    "DeclaredStream",
    "Edge",
    "Http",
    "IceServer",
    "Log",
    "Node",
    "RemoteServer",
    "Section",
    "Strategy",
    "StreamStrategy",
    "Webhook",
    "Webrtc",
    "load",
]
