"""What tokens grant, and that forged ones grant nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from live777py import tokens
from live777py.clients import jwks
from live777py.core.access import ALL_RIGHTS, Grant, Right
from live777py.errors import BadToken, Unavailable
from live777py.tokens import LEEWAY, MAX_TOKEN_LENGTH, Verifier, mint
from tests.support.jwk import EC, OTHER_RSA, RSA, claims, key_set, pem, public, signed

#: Long enough for HS512, which is refused for what it is.
SECRET = "a secret of more than sixty-four characters, as HS512 would have it"


def published(*keys: dict[str, object]) -> jwks.PublishedKeys:
    async def fetch() -> bytes:
        return key_set(*keys)

    return jwks.PublishedKeys(fetch, "a test")


def both() -> Verifier:
    keys = published(public(RSA, "r"), public(EC, "e"))
    return Verifier(["t0ken"], SECRET, keys)


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: object, payload: object, key: bytes) -> str:
    """A token that no honest library makes."""
    text = f"{segment(header)}.{segment(payload)}"
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{segment(mac)}"


async def refused(verifier: Verifier, token: str) -> str:
    with pytest.raises(BadToken) as caught:
        await verifier.grant(token)
    message = str(caught.value)
    assert len(token) < 20 or token not in message
    return message


async def test_a_static_token_grants_everything() -> None:
    verifier = Verifier(["one", "two"])
    grant = await verifier.grant("two")
    assert grant == Grant("*", ALL_RIGHTS, "static token 2")
    await refused(verifier, "three")
    await refused(verifier, "tw")
    await refused(verifier, "")


async def test_static_tokens_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", compare)
    await Verifier(["first", "a much longer second", "3rd"]).grant("first")
    assert len(compared) == 3, "the comparison stopped at the first match"
    assert {len(side) for pair in compared for side in pair} == {32}, "lengths show"


async def test_a_minted_token_grants_what_it_was_minted_for() -> None:
    rights = Right.PUBLISH | Right.SUBSCRIBE
    token = mint(SECRET, "cam", rights, expires=tokens.expiry(60))
    grant = await Verifier(secret=SECRET).grant(token)
    assert grant == Grant("cam", rights, "token for cam")


def test_nothing_is_minted_with_an_empty_secret() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        mint("", "cam", Right.PUBLISH, expires=tokens.expiry(60))


async def test_a_token_of_live777_itself_is_understood() -> None:
    # The header and the order of claims as its Rust library writes them.
    payload = {"id": "777", "exp": int(time.time()) + 86_400, "mode": 5}
    token = by_hand({"typ": "JWT", "alg": "HS256"}, payload, b"key")
    grant = await Verifier(secret="key").grant(token)
    assert grant == Grant("777", Right.MANAGE | Right.SUBSCRIBE, "token for 777")


async def test_an_empty_secret_never_verifies() -> None:
    forged = by_hand({"alg": "HS256", "typ": "JWT"}, claims(id="*"), b"")
    await refused(Verifier(["t0ken"], ""), forged)
    keys = published(public(RSA, "r"))
    await refused(Verifier(["t0ken"], "", keys), forged)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 5, ["HS256"]])
async def test_a_token_without_a_signature_is_none(algorithm: object) -> None:
    header = segment({"alg": algorithm, "typ": "JWT"})
    payload = segment(claims(id="*"))
    for signature in ("", segment(b"x")):
        await refused(both(), f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS384", "PS256", "ES384"])
async def test_other_algorithms_are_not_accepted(algorithm: str) -> None:
    key = SECRET if algorithm.startswith("HS") else RSA
    if algorithm == "ES384":
        token = by_hand({"alg": algorithm, "kid": "e"}, claims(), b"x")
    else:
        token = signed(key, algorithm, "r")
    await refused(both(), token)


async def test_a_public_key_is_no_secret() -> None:
    # The classic: the RSA public key, which everybody has, taken as the HMAC key.
    for key in (pem(RSA), pem(RSA).strip(), key_set(public(RSA, "r"))):
        forged = by_hand({"alg": "HS256", "kid": "r"}, claims(id="*"), key)
        await refused(both(), forged)
        await refused(Verifier(keys=published(public(RSA, "r"))), forged)


async def test_the_secret_does_not_verify_what_calls_itself_rs256() -> None:
    forged = by_hand({"alg": "RS256", "kid": "r"}, claims(id="*"), SECRET.encode())
    await refused(both(), forged)


async def test_a_key_in_the_tokens_own_header_is_not_looked_at() -> None:
    header = {"alg": "RS256", "kid": "r", "jwk": public(OTHER_RSA, "r")}
    text = f"{segment(header)}.{segment(claims(id='*'))}"
    good = signed(OTHER_RSA, "RS256", "r", id="*")
    await refused(both(), f"{text}.{good.rpartition('.')[2]}")
    await refused(both(), good)


async def test_the_signature_of_one_token_does_not_fit_another() -> None:
    one = mint(SECRET, "cam", Right.SUBSCRIBE, expires=tokens.expiry(60))
    two = mint(SECRET, "*", ALL_RIGHTS, expires=tokens.expiry(60))
    header, payload, _ = two.split(".")
    await refused(both(), f"{header}.{payload}.{one.rpartition('.')[2]}")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"exp": None}, "lacks the claim exp"),
        ({"exp": 1}, "has expired"),
        ({"exp": "soon"}, "not one that this server accepts"),
        ({"exp": 1e400}, "not one that this server accepts"),
        ({"nbf": 9e9}, "not valid yet"),
        ({"iat": 9e9}, "not valid yet"),
        ({"id": None}, "claim id"),
        ({"id": ""}, "claim id"),
        ({"id": 5}, "claim id"),
        ({"id": ["*"]}, "claim id"),
        ({"mode": None}, "claim mode"),
        ({"mode": "7"}, "claim mode"),
        ({"mode": True}, "claim mode"),
        ({"mode": -1}, "claim mode"),
        ({"mode": 7.0}, "claim mode"),
    ],
)
async def test_claims_that_do_not_do_are_named(
    changes: dict[str, object], fault: str
) -> None:
    token = by_hand({"alg": "HS256"}, claims(**changes), SECRET.encode())
    assert fault in await refused(both(), token)


@pytest.mark.parametrize("past", [LEEWAY - 30, LEEWAY + 30])
async def test_clocks_may_differ_by_a_minute(past: int) -> None:
    token = signed(SECRET, "HS256", exp=int(time.time()) - past)
    if past < LEEWAY:
        assert (await both().grant(token)).stream == "cam"
    else:
        assert "expired" in await refused(both(), token)


async def test_bits_of_the_mode_that_mean_nothing_grant_nothing() -> None:
    grant = await both().grant(signed(SECRET, "HS256", mode=0xF8 | 4))
    assert grant.rights == Right.SUBSCRIBE


async def test_the_mode_counts_for_the_whole_node_too() -> None:
    # live777 does not look at it when the id is "*".
    grant = await both().grant(signed(SECRET, "HS256", id="*", mode=4))
    assert grant.rights == Right.SUBSCRIBE
    assert not grant.permits(Right.MANAGE)


async def test_published_keys_verify_rs256_and_es256() -> None:
    for key, algorithm, kid in ((RSA, "RS256", "r"), (EC, "ES256", "e")):
        grant = await both().grant(signed(key, algorithm, kid, mode=2, sub="alice"))
        assert grant == Grant("cam", Right.PUBLISH, "alice (token for cam)")


async def test_a_key_id_that_is_unknown_is_refused() -> None:
    assert "does not publish" in await refused(both(), signed(RSA, "RS256", "x"))
    assert "does not publish" in await refused(both(), signed(EC, "ES256", "r"))


async def test_one_published_key_needs_no_name() -> None:
    assert (await both().grant(signed(RSA, "RS256"))).stream == "cam"
    two = published(public(RSA, "a"), public(OTHER_RSA, "b"))
    await refused(Verifier(keys=two), signed(RSA, "RS256"))


async def test_keys_that_cannot_be_had_are_503_and_not_401() -> None:
    async def fetch() -> bytes:
        raise OSError("no route")

    verifier = Verifier(keys=jwks.PublishedKeys(fetch, "a test"))
    with pytest.raises(Unavailable) as caught:
        await verifier.grant(signed(RSA, "RS256", "r"))
    assert caught.value.retry_after


@pytest.mark.parametrize(
    ("audience", "claim", "fault"),
    [
        ("live", "live", ""),
        ("live", ["x", "live"], ""),
        ("live", "other", "another audience"),
        ("live", None, "lacks the claim aud"),
        ("", "other", "another audience"),
        ("", None, ""),
    ],
)
async def test_a_published_keys_token_must_be_for_us(
    audience: str, claim: object, fault: str
) -> None:
    verifier = Verifier(keys=published(public(RSA, "r")), audience=audience)
    token = signed(RSA, "RS256", "r", aud=claim)
    if fault:
        assert fault in await refused(verifier, token)
    else:
        assert (await verifier.grant(token)).stream == "cam"


async def test_a_published_keys_token_must_come_from_the_issuer() -> None:
    verifier = Verifier(keys=published(public(RSA, "r")), issuer="https://id.example")
    assert (
        await verifier.grant(signed(RSA, "RS256", "r", iss="https://id.example"))
    ).stream == "cam"
    for issuer, fault in (("https://evil", "another issuer"), (None, "claim iss")):
        token = signed(RSA, "RS256", "r", iss=issuer)
        assert fault in await refused(verifier, token)


async def test_audience_and_issuer_do_not_matter_to_the_secret() -> None:
    verifier = Verifier(secret=SECRET, audience="live", issuer="https://id.example")
    assert (await verifier.grant(signed(SECRET, "HS256", aud="other"))).stream == "cam"


async def test_a_secret_that_is_short_still_works_and_warns_of_nothing() -> None:
    token = mint("s", "cam", Right.PUBLISH, expires=tokens.expiry(60))
    assert (await Verifier(secret="s").grant(token)).stream == "cam"


async def test_a_token_is_not_looked_at_beyond_its_bound() -> None:
    long = signed(SECRET, "HS256", pad="x" * MAX_TOKEN_LENGTH)
    assert "longer" in await refused(both(), long)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "crit": ["x"], "x": 1},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "b64": False},
    ],
)
async def test_what_a_header_declares_critical_and_we_do_not_know_is_refused(
    header: object,
) -> None:
    await refused(both(), by_hand(header, claims(), SECRET.encode()))


@pytest.mark.parametrize("kid", [5, ["r"], {"a": 1}, True])
async def test_a_key_id_that_is_no_text_is_refused(kid: object) -> None:
    await refused(both(), by_hand({"alg": "RS256", "kid": kid}, claims(), b"x"))


@given(st.text())
@example("a.b.c")
@example("..")
@example("....")
@example("\ud800.x.y")
async def test_no_text_is_more_than_refused(token: str) -> None:
    await refused(both(), token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values, json_values)
async def test_no_json_in_a_token_is_more_than_refused(
    header: object, payload: object
) -> None:
    await refused(both(), by_hand(header, payload, b"x"))
    # A signature that is right does not make claims of everything.
    await refused(both(), by_hand({"alg": "HS256"}, payload, SECRET.encode()))
