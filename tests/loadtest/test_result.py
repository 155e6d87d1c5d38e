from __future__ import annotations

import json

from live777py.loadtest.options import METRICS
from tests.loadtest.results import FAILED, RESULT, checks


def test_json_has_every_metric_and_what_was_required() -> None:
    found = json.loads(
        json.dumps(RESULT.to_json(checks("delivered>=99%", "connected<0.5")))
    )
    assert set(found["metrics"]) == set(METRICS)
    assert found["metrics"]["worst_delivered"] == 0.987654
    assert found["required"] == [
        {"bound": "delivered>=99%", "value": 0.99999999, "holds": True},
        {"bound": "connected<0.5", "value": 1.0, "holds": False},
    ]
    assert found["warnings"] == list(RESULT.warnings)


def test_a_test_in_which_nobody_connected_has_failed() -> None:
    assert FAILED.has_failed
    assert not RESULT.has_failed
