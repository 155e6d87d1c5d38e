"""What a load test has found, and what was asked of it; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from live777py.loadtest.options import METRICS, Bound


@dataclass(frozen=True, slots=True)
class Check:
    """One bound and whether it held."""

    bound: Bound
    value: float | None

    @property
    def holds(self) -> bool:
        """Whether it held."""
        return self.bound.holds(self.value)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one load test.

    Attributes:
        metrics: by name, all of `options.METRICS`; None for what could not be measured.
        media: what was published, in words; None if others published.
        publishers, viewers: how many were wanted.
        publishers_connected, viewers_connected: how many came to be.
        viewers_ended: connected viewers whose session the server ended, or that it forgot.
        seconds: that were measured.
        packets: received by all viewers in those seconds.
        packets_lost: that viewers should have received and have not, from join to end.
        payloads_compared, payloads_altered: decrypted payloads compared with what was sent.
        undecryptable: packets that could not be decrypted, of those tried.
        retransmitted: packets that the server asked publishers for again.
        key_frames_asked: how often the server asked publishers for a key frame.
        dropped: packets that `--loss` took.
        own_cpu: cores that the tool itself was busy with.
        own_drops: datagrams that the kernel dropped since the tool did not read in time.
        latest_send: the longest that a frame was sent after its time, in seconds.
        errors: how often each error was met, at most 20 different ones.
        warnings: what makes the figures doubtful, one sentence each.
        interrupted: whether it was ended before its time.
    """

    metrics: dict[str, float | None]
    media: str | None
    publishers: int
    viewers: int
    publishers_connected: int
    viewers_connected: int
    viewers_ended: int
    seconds: float
    packets: int
    packets_lost: int
    payloads_compared: int
    payloads_altered: int
    undecryptable: int
    retransmitted: int
    key_frames_asked: int
    dropped: int
    own_cpu: float
    own_drops: int
    latest_send: float
    errors: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether there was nothing to measure: nobody could publish, or nobody could watch."""
        return (self.publishers > 0 and not self.publishers_connected) or (
            self.viewers > 0 and not self.viewers_connected
        )

    def check(self, bounds: Iterable[Bound]) -> list[Check]:
        """What was asked for, with what was measured."""
        return [Check(bound, self.metrics.get(bound.metric)) for bound in bounds]

    def to_json(self, checks: Iterable[Check] = ()) -> dict[str, Any]:
        """The object that `--json` prints; `docs/howto/loadtest.md` names the keys."""
        found = dataclasses.asdict(self)
        found["metrics"] = {
            name: None if value is None else float(f"{value:.6g}")
            for name, value in self.metrics.items()
        }
        found["warnings"] = list(self.warnings)
        found["required"] = [
            {
                "bound": check.bound.text,
                "value": check.value,
                "holds": check.holds,
            }
            for check in checks
        ]
        return found


def empty_metrics() -> dict[str, float | None]:
    """All metrics, none of them measured."""
    return dict.fromkeys(METRICS)
