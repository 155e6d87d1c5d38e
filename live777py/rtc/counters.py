"""What the engine counts, in the words of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from live777py.core.model import Delays, MediaCounters
from live777py.relay.delays import BOUNDS, buckets

NANOSECONDS = 1_000_000_000

#: Why datagrams and packets go no further, by the names of counters.
DROPPED = {
    "kernel_dropped": "receive_buffer",
    "send_dropped": "send_buffer",
    "malformed": "malformed",
    "unknown_kind": "unknown_kind",
    "unknown_address": "unknown_address",
    "srtp_failed": "forged",
    "srtp_replayed": "replayed",
    "protect_failed": "not_encrypted",
    "no_track": "not_negotiated",
    "foreign_ssrc": "foreign_ssrc",
    "late": "late",
    "duplicates": "duplicate",
    "parked_dropped": "before_keys",
    "lane_dropped": "thread_busy",
    "lane_overtaken": "thread_behind",
    "control_dropped_stun": "stun_flood",
    "control_dropped_dtls": "dtls_flood",
    "control_dropped_rtcp": "rtcp_flood",
    "stun_unknown_ufrag": "stun_unknown",
    "control_unsent": "control_unsent",
}

#: Why a viewer does not get a packet again.
NOT_RETRANSMITTED = {
    "retransmit_missed": "gone",
    "retransmit_limited": "limited",
    "retransmit_dropped": "flood",
}


@dataclass(slots=True)
class Counts:
    """What peers count together, beside the data plane.

    Attributes:
        key_frames_requested: requests for a key frame that were sent to publishers.
        key_frames_wanted: requests for a key frame that came from viewers.
    """

    key_frames_requested: int = 0
    key_frames_wanted: int = 0


def media_counters(counted: Mapping[str, int], counts: Counts) -> MediaCounters:
    """The counters of the data plane and the transport, and those of the peers."""
    return MediaCounters(
        datagrams_in=counted["packets_in"],
        bytes_in=counted["bytes_in"],
        packets_out=counted["packets_out"],
        bytes_out=counted["bytes_out"],
        restored=counted["rtx_restored"],
        retransmitted=counted["retransmitted"],
        dropped={reason: counted[name] for name, reason in DROPPED.items()},
        not_retransmitted={
            reason: counted[name] for name, reason in NOT_RETRANSMITTED.items()
        },
        frames_dropped=counted["frames_dropped"],
        key_frames_requested=counts.key_frames_requested,
        key_frames_wanted=counts.key_frames_wanted,
        forwarding=Delays(BOUNDS, buckets(counted), counted["delay_sum"] / NANOSECONDS),
    )
