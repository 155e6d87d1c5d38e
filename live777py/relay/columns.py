"""The columns of every table.

Columns are 64-bit so that nothing overflows when the functions run as plain Python. A row of
zeros is a free row, so that memory is not touched before it is used. A column must not be
called as an attribute that numpy's scalars have (`flags`, `base`, `size`): a test holds that.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def _record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, "i8") for name in names], align=True)


#: What the loop itself knows. One row.
ENGINE = _record(
    # Where the receiver listens, -1 in other lanes, and what is sent by.
    "socket",
    "sender",
    "wake",
    "control",
    "is_ipv6",
    "gso",
    "history",
    "control_rows",
    "seed",
    "now",
    "clock_offset",
    "announced",
    "collected",
    "dirty",
    "output_packets",
    "output_messages",
    "waits",
    "coalesce",
    "is_full",
    # What the shared socket has dropped so far.
    "socket_drops",
    "parked_head",
    "parked_tail",
    # Sources that are not WebRTC: peers behind the last one.
    "first_source",
    "sources",
    "injection_left",
    # Taps.
    "tap_event",
    "tapped",
    # Sockets of single peers.
    "epoll",
    "adopted",
    # Destinations of this lane with sockets of their own.
    "own_sockets",
    # A command waits for room in another lane's ring.
    "is_stalled",
    # Viewers on their way to the live edge.
    "catching",
    "catch_next",
    "caught_up_at",
    "catch_up_age",
    # What is to be sent once more unasked: a ring, and how many wait in it.
    "echo_first",
    "echoes",
    "echo_delay",
)

#: Of the histogram of forwarding delays.
DELAY_BUCKETS = 16

#: One row; its columns are the names in `Plane.counters()`.
COUNTERS = _record(
    "packets_in",
    "bytes_in",
    "receive_calls",
    # In nanoseconds, and how many batches; `delays.py` says how wide a bucket is.
    "delay_sum",
    *(f"delay_{n}" for n in range(DELAY_BUCKETS)),
    "packets_out",
    "bytes_out",
    "send_calls",
    "send_waits",
    "send_dropped",
    "gso_messages",
    "gso_refused",
    "unknown_address",
    "unknown_kind",
    "srtp_failed",
    "srtp_replayed",
    "protect_failed",
    "malformed",
    "no_track",
    "foreign_ssrc",
    "late",
    "sequence_jumps",
    "parked",
    "parked_dropped",
    "kernel_dropped",
    "control_stun",
    "control_dtls",
    "control_rtcp",
    "control_key_frame",
    "control_dropped_stun",
    "control_dropped_dtls",
    "control_dropped_rtcp",
    "control_dropped_key_frame",
    "gaps",
    "notices_dropped",
    "duplicates",
    "rtx_restored",
    "rtx_empty",
    "rtx_useless",
    "commands",
    "injected",
    "tapped",
    "tap_dropped",
    "adopt_failed",
    "retransmitted",
    "retransmit_missed",
    "retransmit_limited",
    "echoed",
    "caught_up",
    "frames_dropped",
    "lane_dropped",
    "lane_overtaken",
)

ADDRESS = _record("high", "low", "port", "peer_plus_one")

#: What is received from a peer; the receiver's.
PEER = _record(
    "receive_session",
    "sources",
    "parked",
    "last_received",
    "packets_received",
    "bytes_received",
    # Its own socket, 0 where it uses the shared one.
    "socket_plus_one",
    "socket_drops",
    # The id of its transport-wide numbers, 0 when they are not wanted.
    "transport_cc",
)

#: How a peer is sent to; each lane has a table of its own, and a peer is in one lane.
DESTINATION = _record(
    "send_session",
    "name_length",
    "local_length",
    "gso_refused",
    "packets_sent",
    "bytes_sent",
    "send_errors",
    # Its own socket, 0 where it uses the lane's.
    "socket_plus_one",
    "socket_is_ipv6",
)

BINDING = _record(
    "track_plus_one",
    "format",
    "clock_rate",
    "extensions",
    # Of retransmissions: what they repeat, and the latest SSRC that they came under.
    "original_plus_one",
    "rtx_ssrc_plus_one",
)

#: What is received of a track; other lanes than the receiver only read it.
TRACK = _record(
    # The source: one SSRC of one peer at a time.
    "has_publisher",
    "publisher",
    "anchored",
    "ssrc",
    "payload_type",
    "base_sequence",
    "highest_sequence",
    "received",
    "jitter",
    "transit",
    "outlier",
    "has_outlier",
    # Outgoing numbering.
    "packets",
    "bytes",
    "shift",
    "highest_out",
    "last_timestamp",
    "timestamp_offset",
    "last_arrival",
    # Key frames.
    "key_frames",
    "key_timestamp",
    "key_announced",
    # The packets since the latest key frame, with which viewers may begin.
    "group_start",
    "group_timestamp",
    "group_started",
    "group_missing",
    "group_gap_at",
    "format",
)

#: Who is sent a track; each lane has a table of its own.
AUDIENCE = _record(
    # Viewers, a list through their rows, and taps alike, which only the receiver has.
    "viewers",
    "first_viewer_plus_one",
    "first_tap_plus_one",
    # The receiver's: a bit for each other lane that has viewers.
    "lanes",
    # The packets of the batch in hand, and the highest number that ever was in one.
    "batch_first_plus_one",
    "batch_last",
    "highest",
)

#: How another lane is woken, and whether it is to be.
WAKE = _record("descriptor", "is_due")

#: One packet of a track's history; a late one came behind others that follow it.
PACKET = _record("number", "length", "octets", "arrival", "is_key", "is_late")

VIEWER = _record(
    "peer",
    "track_plus_one",
    "next_plus_one",
    "previous_plus_one",
    "payload_type",
    "ssrc",
    "timestamp_offset",
    "extensions",
    "first_sequence",
    "started",
    "floor",
    "shift",
    "packets",
    "octets",
    "first_sent_plus_one",
    "last_sent_plus_one",
    # What it gets besides the live edge, or instead.
    "paused",
    "catch_up",
    "cursor",
    "catching_plus_one",
    "skipped_plus_one",
    "echo_plus_one",
    # Retransmission.
    "rtx_payload_type",
    "rtx_ssrc",
    "rtx_sequence",
    "credit",
    "credit_at",
    "credit_octets",
    # Until when it counts as one that loses packets, and its newest packet that was probed.
    "lossy_until",
    "probed_plus_one",
)

TAP = _record(
    "track_plus_one",
    "next_plus_one",
    "capacity",
    "is_skipping",
    # The latest packet that there was no room for, and the latest frame that was counted.
    "lost_timestamp",
    "skipped_timestamp",
    "packets",
    "dropped",
    "frames_dropped",
)
#: When a packet was last sent again to a viewer; a slot is viewer × RESENT_ROWS + number % it.
RESENT = _record("number", "at")
#: A packet that a viewer is to be sent once more; a probe only if it is still the newest.
ECHO = _record("viewer", "number", "due", "is_probe")

#: A control packet beside its bytes.
CONTROL = _record(
    "peer",
    "length",
    "arrived",
    "high",
    "low",
    "port",
    "scope",
    "local_high",
    "local_low",
)

PARKED = _record("peer_plus_one", "length", "arrived")
COLLECTED = _record("slot", "number", "next_plus_one")
SENT = _record("viewer", "peer", "first", "count", "octets", "bytes")
IOVEC = _record("start", "length")

#: `struct mmsghdr` of 64-bit Linux. musl's narrower lengths agree with it where the padding
#: is zero, as it always is here.
MESSAGE = np.dtype(
    [
        ("name", "i8"),
        ("name_length", "i8"),
        ("iovecs", "i8"),
        ("iovec_count", "i8"),
        ("control", "i8"),
        ("control_length", "i8"),
        ("message_flags", "i8"),
        ("length", "i8"),
    ],
    align=True,
)
