"""Offer and answer: what the peers use. The parts are in `offer`, `answer` and their users.

    answer_publisher(offer, local) -> PublisherAnswer
    answer_viewer(offer, local, source, senders, ...) -> ViewerAnswer
    check_viewer(offer)

Nothing here knows a socket, a task or a clock: text and values in, text and values out.
"""

from live777py.protocol.profiles import matches
from live777py.rtc.answer import LocalParameters
from live777py.rtc.offer import RemoteParameters
from live777py.rtc.publisher_answer import (
    PUBLISHER_FEEDBACK,
    PublisherAnswer,
    ReceivedMedia,
    answer_publisher,
)
from live777py.rtc.viewer_answer import (
    VIEWER_FEEDBACK,
    Sender,
    SentMedia,
    ViewerAnswer,
    answer_viewer,
    check_viewer,
)

__all__ = [
    "PUBLISHER_FEEDBACK",
    "VIEWER_FEEDBACK",
    "LocalParameters",
    "PublisherAnswer",
    "ReceivedMedia",
    "RemoteParameters",
    "Sender",
    "SentMedia",
    "ViewerAnswer",
    "answer_publisher",
    "answer_viewer",
    "check_viewer",
    "matches",
]
