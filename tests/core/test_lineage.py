from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.core.lineage import (
    HEADER_LENGTH,
    MAX_ENTRIES,
    MAX_HOPS,
    MAX_LABEL,
    MAX_TEXT,
    Entry,
    Node,
    Path,
    check,
    encode,
    in_words,
    parse,
    refused,
)
from live777py.errors import Loop, TooManyHops

ids = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")
labels = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=MAX_LABEL)
paths = st.lists(st.builds(Entry, ids, labels), max_size=MAX_HOPS).map(tuple)


def chain(*names: str) -> Path:
    """A stream cam on nodes of these names."""
    return tuple(Node(name, name.encode()).entry("cam") for name in names)


A, B, C, D = chain("a", "b", "c", "d")
LONG = chain(*(f"n{number}" for number in range(MAX_HOPS)))


def test_an_entry_is_of_one_stream_of_one_node() -> None:
    node = Node("a")
    assert node.entry("cam") == node.entry("cam")
    others = [node.entry("kitchen"), Node("a").entry("cam"), Node().entry("cam")]
    assert len({entry.id for entry in [node.entry("cam"), *others]}) == 4
    assert "cam" not in node.entry("cam").id


def test_an_entry_is_shown_by_its_label_or_by_what_it_has_of_one() -> None:
    assert str(A) == "a/cam"
    assert str(Node("a").entry("a/b")) == "a/a/b"
    nameless = Node().entry("cam")
    assert str(nameless) == f"{nameless.id[:4]}/cam"
    assert str(Entry("0123456789abcdef")) == "0123/"


def test_labels_are_bounded() -> None:
    entry = Node("n" * 100).entry("ä" * 255)
    assert len(entry.label) == MAX_LABEL
    assert entry.label.startswith("n" * 24 + "/ä")


@given(paths)
def test_a_path_survives_the_way_to_text_and_back(path: Path) -> None:
    text = encode(path, MAX_TEXT * 10)
    assert text.isascii()
    assert text.isprintable()
    if len(text) <= MAX_TEXT:
        read = parse(text)
        assert read == path
        assert [e.label for e in read] == [e.label for e in path]


@given(paths, st.integers(MAX_HOPS * 20, HEADER_LENGTH))
def test_a_text_is_as_long_as_it_may_be_and_has_all_ids(
    path: Path, length: int
) -> None:
    text = encode(path, length)
    assert len(text) <= length
    assert parse(text) == path


@given(st.text(max_size=100))
def test_whatever_comes_is_a_path_or_none(text: str) -> None:
    assert all(entry.label.isprintable() for entry in parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123",
        "0123456789ABCDEF.a/cam",
        "0123456789abcdef0.a/cam",
        "٠123456789abcdef.a/cam",
        "0123456789abcdef.a/cam,",
        "0123456789abcdef.a/cam, nonsense",
        "0123456789abcdef." + MAX_TEXT * "a",
    ],
)
def test_what_is_no_path_is_passed_over(text: str) -> None:
    assert parse(text) == ()


def test_a_label_cannot_pretend_to_be_something_else() -> None:
    [entry] = parse("0123456789abcdef.a/%0d%0aX%E2%80%AEmac%00%ff" + 100 * "y")
    assert entry.label.startswith("a/Xmac\ufffdyyy")
    assert len(entry.label) == MAX_LABEL


def test_no_more_entries_are_read_than_a_loop_can_have() -> None:
    text = ", ".join(f"{number:016x}." for number in range(200))
    assert len(parse(text)) == MAX_ENTRIES


@pytest.mark.parametrize(
    ("upstream", "downstream", "words"),
    [
        # A stream from itself; a node from its viewer; a ring of three.
        ((A,), (A,), "a/cam → a/cam"),
        ((A, B), (A,), "a/cam → b/cam → a/cam"),
        ((A, B, C), (A,), "a/cam → b/cam → c/cam → a/cam"),
        # What came before the loop is no part of it.
        ((D, A, B), (A,), "a/cam → b/cam → a/cam"),
        # Whoever waits for the one who asks is fed by it.
        ((A,), (B, A), "a/cam → b/cam → a/cam"),
        ((A, B), (C, D, A), "a/cam → b/cam → c/cam → d/cam → a/cam"),
    ],
)
def test_a_loop_is_refused_with_its_path(
    upstream: Path, downstream: Path, words: str
) -> None:
    with pytest.raises(Loop) as caught:
        check(upstream, downstream)
    assert str(caught.value).endswith(f"feed itself: {words}")
    assert in_words(parse(caught.value.via)) == words


@pytest.mark.parametrize(
    ("upstream", "downstream"),
    [
        ((), (A,)),
        ((A,), ()),
        ((A, B), (C, D)),
        (LONG, ()),
        (LONG[:-1], (A,)),
        # Another stream of the same node.
        ((Node("a", b"a").entry("kitchen"),), (A,)),
    ],
)
def test_what_leads_elsewhere_is_no_loop(upstream: Path, downstream: Path) -> None:
    check(upstream, downstream)


def test_media_may_come_through_so_many_nodes_and_no_more() -> None:
    with pytest.raises(TooManyHops, match="n0/cam → n1/cam → ") as caught:
        check(LONG, (A,))
    assert parse(caught.value.via) == LONG


def test_a_refusal_is_passed_on_as_it_was() -> None:
    for upstream in ((A, B, C), LONG):
        with pytest.raises(Loop) as caught:
            check(upstream, (A if A in upstream else D,))
        again = refused(caught.value.via)
        assert type(again) is type(caught.value)
        assert str(again) == str(caught.value)
    assert refused("") is None
    assert refused("508 Loop Detected") is None


def test_the_longest_loop_can_be_told() -> None:
    down = chain(*(f"d{number}" for number in range(MAX_HOPS - 1)))
    with pytest.raises(Loop) as caught:
        check(LONG, (*down, LONG[0]))
    assert len(caught.value.via) <= HEADER_LENGTH
    again = refused(caught.value.via)
    assert str(again) == str(caught.value)
