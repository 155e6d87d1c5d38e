"""Tokens: what one grants, and how one is minted. Pure but for the clock and the keys.

A token is either one of the configuration's own, which grants everything, or a JSON Web Token
with live777's claims: `id` (a stream's name, or "*"), `mode` (bits of `Right`), `exp`. Nothing
here is logged, and no message quotes a token.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    MissingRequiredClaimError,
    PyJWTError,
)
from jwt.types import Options
from jwt.warnings import InsecureKeyLengthWarning

from live777py.core.access import ALL_RIGHTS, Grant, Right
from live777py.errors import BadToken

#: The longest token that is looked at.
MAX_TOKEN_LENGTH = 4096

#: Seconds by which clocks may differ, as in live777.
LEEWAY = 60

#: Characters that a secret should have: as many as HS256 has bytes (RFC 7518 section 3.2).
SECRET_LENGTH = 32

#: Of a holder's name in log lines.
MAX_HOLDER_LENGTH = 64

#: What is said of all that does not verify.
FOREIGN = "the token is not one that this server accepts"

#: Why a token is refused, where that helps its holder and tells a forger nothing.
_REASONS: dict[type[PyJWTError], str] = {
    ExpiredSignatureError: "the token has expired: ask for a new one",
    ImmatureSignatureError: "the token is not valid yet",
    InvalidAudienceError: "the token is for another audience",
    InvalidIssuerError: "the token comes from another issuer",
}


class Keys(Protocol):
    """Published keys of an identity provider."""

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key of a token.

        Raises:
            BadToken: there is no such key.
            Unavailable: nobody knows, because the keys cannot be had.
        """


class Verifier:
    """Knows what a token grants.

    An empty secret verifies nothing, and an algorithm belongs to one kind of key: HS256 to the
    secret, RS256 and ES256 to published keys of their type. What a token's header says only
    chooses among these.
    """

    def __init__(
        self,
        tokens: Sequence[str] = (),
        secret: str = "",
        keys: Keys | None = None,
        *,
        audience: str = "",
        issuer: str = "",
    ) -> None:
        """Prepare a verifier.

        Args:
            tokens: each grants everything.
            secret: verifies HS256.
            keys: verify RS256 and ES256.
            audience, issuer: what tokens by published keys must say.
        """
        # Digests have one length, whatever a comparison is told to compare.
        self._digests = [_digest(token) for token in tokens]
        self._secret = secret
        self._keys = keys
        self._audience = audience
        self._issuer = issuer

    async def grant(self, token: str) -> Grant:
        """What a token grants.

        Raises:
            BadToken: nothing; the message says why.
            Unavailable: the keys for it cannot be had just now.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise BadToken(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
        if not token.isascii():
            raise BadToken(FOREIGN)
        digest = _digest(token)
        # All of them, whichever it is: the time tells nothing.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(matches):
            return Grant(holder=f"static token {matches.index(True) + 1}")
        return _grant(await self._claims(token))

    async def _claims(self, token: str) -> Mapping[str, Any]:
        header = _checked(lambda: jwt.get_unverified_header(token))
        match header.get("alg"):
            case "HS256" if self._secret:
                return self._decode_shared(token)
            case "RS256" | "ES256" as algorithm if self._keys is not None:
                kid = header.get("kid")
                key = await self._keys.find(kid, algorithm)
                return self._decode_published(token, key, algorithm)
            case _:
                raise BadToken(FOREIGN)

    def _decode_shared(self, token: str) -> Mapping[str, Any]:
        # As in live777, whose tokens may say for whom they are and are not asked.
        options: Options = {"require": ["exp"], "verify_aud": False}
        return _checked(
            lambda: jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                leeway=LEEWAY,
                options=options,
            )
        )

    def _decode_published(
        self, token: str, key: jwt.PyJWK, algorithm: str
    ) -> Mapping[str, Any]:
        demanded = [("aud", self._audience), ("iss", self._issuer)]
        required = [claim for claim, wanted in demanded if wanted]
        return _checked(
            lambda: jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                leeway=LEEWAY,
                audience=self._audience or None,
                issuer=self._issuer or None,
                options={"require": ["exp", *required]},
            )
        )


def mint(secret: str, stream: str, rights: Right, *, expires: int) -> str:
    """A token that grants rights to a stream.

    Args:
        secret: signs it; not empty.
        stream: a name, or "*" for all streams and the node itself.
        rights: what it grants.
        expires: when it ends, in seconds since the epoch.
    """
    if not secret:
        raise ValueError("an empty secret signs nothing")
    claims = {"id": stream, "mode": rights.value, "exp": expires}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return jwt.encode(claims, secret, algorithm="HS256")


def expiry(seconds: float) -> int:
    """The moment so many seconds from now, in seconds since the epoch."""
    return int(time.time() + seconds)


def _checked(decode: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a function of PyJWT returns, its errors in our words."""
    try:
        with warnings.catch_warnings():
            # Said once, at start, not for every request.
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return decode()
    except MissingRequiredClaimError as error:
        raise BadToken(f"the token lacks the claim {error.claim}") from None
    except PyJWTError as error:
        raise BadToken(_REASONS.get(type(error), FOREIGN)) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        # JSON of a kind that PyJWT does not expect: a header that is a list, say.
        raise BadToken(FOREIGN) from None


def _grant(claims: Mapping[str, Any]) -> Grant:
    stream, mode = claims.get("id"), claims.get("mode")
    if not isinstance(stream, str) or not stream:
        raise BadToken("the token's claim id must name a stream, or be *")
    if not isinstance(mode, int) or isinstance(mode, bool) or mode < 0:
        raise BadToken("the token's claim mode must be a sum of 1, 2 and 4")
    subject = claims.get("sub")
    holder = f"token for {stream}"
    if isinstance(subject, str) and subject:
        holder = f"{subject[:MAX_HOLDER_LENGTH]} ({holder})"
    return Grant(stream, Right(mode & ALL_RIGHTS.value), holder)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
