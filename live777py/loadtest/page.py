"""A load test's result as an HTML page that needs no other file; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from live777py import __version__
from live777py.loadtest import rows
from live777py.loadtest.options import Options
from live777py.loadtest.result import Check, Result

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d8dee4;
  --card: #fff; --back: #f6f8fa; --good: #1a7f37; --bad: #c6222f; --mind: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1;
  --line: #30363d; --card: #151b23; --back: #0d1117; --good: #4ac26b; --bad: #ff7b72;
  --mind: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.35rem; margin: 0; }
h2 { font-size: .95rem; margin: 0 0 .5rem; }
.sub { color: var(--soft); margin: .25rem 0 1.5rem; overflow-wrap: anywhere; }
.heads { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr));
  gap: .75rem; margin-bottom: .75rem; }
.heads div, section { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .9rem 1rem; }
.heads b { display: block; font-size: 1.45rem; font-weight: 600; }
.heads span { color: var(--soft); font-size: .85rem; }
.cards { columns: 24rem 2; column-gap: .75rem; }
.cards section { break-inside: avoid; margin-bottom: .75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .22rem 0; font-weight: 400; }
th { color: var(--soft); padding-right: 1rem; white-space: nowrap; }
td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
.ok { color: var(--good); } .failed { color: var(--bad); font-weight: 600; }
.mind h2 { color: var(--mind); } .errors h2 { color: var(--bad); }
footer { color: var(--soft); font-size: .85rem; margin-top: 1.5rem; }
"""


def render(
    options: Options, result: Result, checks: Sequence[Check], *, when: str
) -> str:
    """The page.

    Args:
        options: what was asked for; its token is not shown.
        result: what was found.
        checks: what was required.
        when: the time of the test, as text.
    """
    targets = " · ".join(
        f"{name} {escape(url)}"
        for name, url in (("WHIP", options.whip), ("WHEP", options.whep))
        if url is not None
    )
    metrics = result.metrics
    heads = (
        ("viewers", f"{result.viewers_connected:,} of {result.viewers:,}"),
        ("delivered", rows.share(metrics["delivered"])),
        ("latency, p50", rows.duration(metrics["latency_p50"])),
        ("latency, p99", rows.duration(metrics["latency_p99"])),
        ("joins per second", rows.number(metrics["joins_per_second"])),
    )
    body = [
        "<h1>Load test</h1>",
        (
            f'<p class="sub">{targets}<br>{escape(when)}'
            f"{', interrupted' if result.interrupted else ''}</p>"
        ),
        '<div class="heads">',
        *(f"<div><b>{escape(v)}</b><span>{k}</span></div>" for k, v in heads),
        "</div>",
        *_checks(checks),
        *_list("Mind", "mind", result.warnings),
        *_list("Errors", "errors", (f"{n}× {t}" for t, n in result.errors.items())),
        '<div class="cards">',
        *(_table(section) for section in rows.sections(result)),
        "</div>",
        (
            f"<footer>live777py {__version__}. Latency is from the sending of a frame's last "
            "packet to its arrival at the viewer's socket.</footer>"
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Load test, {escape(when)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _table(section: rows.Section) -> str:
    lines = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in section.rows
    )
    return f"<section><h2>{section.title}</h2>\n<table>\n{lines}\n</table></section>"


def _checks(checks: Sequence[Check]) -> list[str]:
    if not checks:
        return []
    lines = "\n".join(
        f'<tr><th scope="row">{escape(bound)}</th><td>{escape(value)} '
        f'<span class="{"ok" if holds else "failed"}">{"ok" if holds else "failed"}'
        "</span></td></tr>"
        for holds, bound, value in rows.checked(checks)
    )
    return [
        f"<section><h2>Required</h2>\n<table>\n{lines}\n</table></section>",
        '<p style="margin:0 0 .75rem"></p>',
    ]


def _list(title: str, kind: str, items: Iterable[str]) -> list[str]:
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    if not lines:
        return []
    return [
        f'<section class="{kind}"><h2>{title}</h2><ul>{lines}</ul></section>',
        '<p style="margin:0 0 .75rem"></p>',
    ]
