"""The bounds of the data plane. Everything it allocates follows from these numbers."""

from __future__ import annotations

from dataclasses import dataclass

#: A track has one bit of a word for each lane.
MAX_LANES = 64


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """How large the plane's tables are and how it runs.

    Memory is reserved for all of it but taken only when touched.

    Attributes:
        threads: 0 runs the loop in a reader of the event loop; otherwise so many send, of
            which the first receives.
        gso: whether runs of equal packets may leave as one UDP GSO message.
        coalesce: seconds for which datagrams gather before a batch is taken.
        max_peers, max_viewers, max_tracks: rows of the tables.
        history: packets kept of each track, a power of two.
        command_rows: rows of the ring towards the thread, a power of two.
        control_rows: control packets that may wait *of each kind*, a power of two.
        parked_packets: SRTP packets that may wait for keys, of all peers, a power of two.
        output_packets: packets encrypted before they are handed to the kernel.
        max_sources, max_taps: sources and sinks that are not WebRTC.
        source_packets: packets that may wait of each source, a power of two.
        tap_packets: packets that may wait for each tap at most, a power of two.
        catch_up_age: seconds; a key frame that is older is nothing to begin with.
        echo_delay: seconds after which a viewer that loses packets is sent some once more
            unasked; 0 for never.
    """

    threads: int = 1
    gso: bool = True
    coalesce: float = 0.0005
    max_peers: int = 4096
    max_viewers: int = 16384
    max_tracks: int = 8192
    history: int = 2048
    command_rows: int = 4096
    control_rows: int = 512
    parked_packets: int = 1024
    output_packets: int = 256
    max_sources: int = 256
    max_taps: int = 256
    source_packets: int = 512
    tap_packets: int = 1024
    catch_up_age: float = 10.0
    # Shorter than the 15 ms in which a request is taken for a repeated one, and far enough
    # from the first copy for most bursts.
    echo_delay: float = 0.012

    def __post_init__(self) -> None:
        for name in (
            "history",
            "command_rows",
            "control_rows",
            "parked_packets",
            "source_packets",
            "tap_packets",
        ):
            if not _is_power_of_two(getattr(self, name)):
                raise ValueError(f"{name} must be a power of two")
        for name in (
            "max_peers",
            "max_viewers",
            "max_tracks",
            "max_sources",
            "max_taps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 64 <= self.output_packets <= 1024:
            raise ValueError("output_packets must be between 64 and 1024")
        if self.history < 64:
            raise ValueError("history must be at least 64")
        if not 0 <= self.catch_up_age <= 3600:
            raise ValueError("catch_up_age must be between 0 and 3600")
        if not 0 <= self.coalesce < 1:
            raise ValueError("coalesce must be at least 0 and less than a second")
        if not 0 <= self.echo_delay < 1:
            raise ValueError("echo_delay must be at least 0 and less than a second")
        if not 0 <= self.threads <= MAX_LANES:
            raise ValueError(f"threads must be between 0 and {MAX_LANES}")
