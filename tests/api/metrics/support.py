"""Reading a page as Prometheus does."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Iterable[Metric]) -> Samples:
    """Values by name and labels, without the times at which they began."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name != f"{metric.name}_created"
    }


def parsed(page: str) -> Samples:
    """A page's values by name and labels."""
    return samples(text_string_to_metric_families(page))


def key(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """How `samples` names a value."""
    return name, tuple(sorted(labels.items()))
