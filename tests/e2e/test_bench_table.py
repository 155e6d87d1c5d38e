from __future__ import annotations

from bench.table import markdown


def test_medians_and_ratios_to_a_peer() -> None:
    results = {
        "50x1": {
            "ours": [{"cpu_us": 2.0}, {"cpu_us": 4.0}, {"cpu_us": 3.0}],
            "theirs": [{"cpu_us": 6.0}],
        }
    }
    row = markdown(results, ["ours", "theirs"]).splitlines()[2]
    assert row.endswith("| 3.00 (2.00 to 4.00) | 6.00 | 0.50 |")


def test_forwarding_is_set_against_both_forms_of_the_bare_loop() -> None:
    results = {
        "1x200": {"ours": [{"cpu_us": 3.0}], "theirs": [{"cpu_us": 9.0}]},
        "bare": {"ours": [{"plain_us": 4.0, "gso_us": 1.5}]},
    }
    apart, segmented = markdown(results, ["ours", "theirs"]).splitlines()[-2:]
    assert "packets apart" in apart
    assert apart.endswith("| 0.75 | 2.25 |  |")
    assert "segmented" in segmented
    assert segmented.endswith("| 2.00 | 6.00 |  |")


def test_without_the_bare_loop_nothing_is_set_against_it() -> None:
    text = markdown({"1x200": {"ours": [{"cpu_us": 3.0}]}}, ["ours"])
    assert "bare" not in text
