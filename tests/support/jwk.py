"""Keys of an identity provider that exists in tests only."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

#: Made once: an RSA key takes a noticeable part of a second.
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def public(key: PrivateKey, kid: str | None, **members: object) -> dict[str, Any]:
    """The public half of a key as a JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        text = RSAAlgorithm.to_jwk(key.public_key())
    else:
        text = ECAlgorithm.to_jwk(key.public_key())
    jwk = cast("dict[str, Any]", json.loads(text))
    # PyJWT puts key_ops in; many providers do not.
    jwk.pop("key_ops", None)
    return {**jwk, **({} if kid is None else {"kid": kid}), **members}


def pem(key: PrivateKey) -> bytes:
    """The public half of a key as PEM."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_set(*keys: dict[str, Any]) -> bytes:
    """A document of keys."""
    return json.dumps({"keys": keys}).encode()


def claims(**changes: object) -> dict[str, Any]:
    """Claims of a good token; None takes one out."""
    good = {"id": "cam", "mode": 7, "exp": int(time.time()) + 3600}
    merged = {**good, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def signed(
    key: PrivateKey | str, algorithm: str, kid: str | None = None, **changes: object
) -> str:
    """A token with these claims."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)
