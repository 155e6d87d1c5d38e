"""The published keys of an identity provider (RFC 7517): fetched, kept, fetched again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import jwt
from jwt.exceptions import PyJWTError

from live777py.errors import BadToken, ConfigError, Unavailable

logger = logging.getLogger(__name__)

#: Bounds of what is fetched.
MAX_BYTES = 256 * 1024
MAX_KEYS = 64
MAX_REDIRECTS = 3

#: Seconds that fetching may take.
TIMEOUT = 5.0

#: Seconds after which the keys are fetched again, and again after a failure.
REFRESH = 900.0
RETRY = 15.0

#: Seconds between two fetches that were caused by tokens: strangers must not make us a client
#: that never rests.
PATIENCE = 60.0

_REDIRECTS = (301, 302, 303, 307, 308)

#: Key types (with the curve) and the one algorithm that each serves (RFC 7518 section 3.1).
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}

#: Shorter RSA keys can be factored (RFC 7518 section 3.3).
_MIN_RSA_BITS = 2048

Fetch = Callable[[], Awaitable[bytes]]


class KeysUnavailable(Unavailable):
    """The keys that a token needs cannot be had."""

    code = "keys_unavailable"
    retry_after: float | None = RETRY

    def __init__(self) -> None:
        super().__init__(
            "the keys that verify this token cannot be fetched at the moment: try again"
        )


class BadKeySet(Exception):
    """What was fetched is no set of keys; the message says why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id and algorithm, and those without an id."""

    named: Mapping[tuple[str, str], jwt.PyJWK] = field(default_factory=dict)
    unnamed: Mapping[str, tuple[jwt.PyJWK, ...]] = field(default_factory=dict)

    def find(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        """The key of a token whose header says this; one without `kid` must be unambiguous."""
        if isinstance(kid, str):
            return self.named.get((kid, algorithm))
        if kid is not None:
            return None
        named = [key for (_, kind), key in self.named.items() if kind == algorithm]
        candidates = [*named, *self.unnamed.get(algorithm, ())]
        return candidates[0] if len(candidates) == 1 else None


def parse(data: bytes) -> KeySet:
    """The keys of a JWK set that verify signatures by RS256 or ES256; others are left out.

    Raises:
        BadKeySet: it is none, or none of its keys can be used.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BadKeySet("it is not JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise BadKeySet('it has no list "keys"')
    if len(keys) > MAX_KEYS:
        raise BadKeySet(f"it has more than {MAX_KEYS} keys")
    named: dict[tuple[str, str], jwt.PyJWK] = {}
    unnamed: dict[str, tuple[jwt.PyJWK, ...]] = {}
    for item in keys:
        if (key := _usable(item)) is None:
            continue
        algorithm = key.algorithm_name
        if isinstance(key.key_id, str):
            named[key.key_id, algorithm] = key
        else:
            unnamed[algorithm] = (*unnamed.get(algorithm, ()), key)
    if not named and not unnamed:
        raise BadKeySet("it has no public RSA or P-256 key for signatures")
    return KeySet(named, unnamed)


def _usable(item: object) -> jwt.PyJWK | None:
    if not isinstance(item, dict):
        return None
    algorithm = _ALGORITHMS.get((str(item.get("kty")), item.get("crv")))
    usable = (
        algorithm is not None
        and item.get("alg") in (None, algorithm)
        and item.get("use") in (None, "sig")
        # A private key has no place in what is published, and is no secret any more.
        and "d" not in item
    )
    if not usable:
        return None
    try:
        key = jwt.PyJWK(item, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and key.key.key_size < _MIN_RSA_BITS:
        return None
    return key


class PublishedKeys:
    """Keeps the latest set that could be fetched.

    `run` fetches at once and then in the background, for as long as it runs. A token whose key
    is unknown makes it fetch too, at most once a minute; meanwhile everybody waits for the same
    fetch. A fetch that fails leaves the old keys in place.
    """

    def __init__(
        self, fetch: Fetch, source: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare the keys.

        Args:
            fetch: gets the set; raises OSError, TimeoutError or aiohttp.ClientError.
            source: what it is called in the log.
            clock: of the loop that calls.
        """
        self._fetch = fetch
        self._source = source
        self._clock = clock
        self._keys = KeySet()
        self._is_loaded = False
        self._failed = False
        self._fetched_at = -PATIENCE
        self._lock = asyncio.Lock()

    async def find(self, kid: object, algorithm: str) -> jwt.PyJWK:
        """The key of a token.

        Raises:
            BadToken: there is no such key.
            KeysUnavailable: the keys could not be fetched, so nobody knows.
        """
        key = self._keys.find(kid, algorithm)
        if key is None:
            async with self._lock:
                # Somebody else may have fetched it while we waited.
                key = self._keys.find(kid, algorithm)
                if key is None and self._clock() - self._fetched_at >= PATIENCE:
                    await self._refresh()
                    key = self._keys.find(kid, algorithm)
        if key is not None:
            return key
        if self._failed or not self._is_loaded:
            raise KeysUnavailable
        raise BadToken(
            "the token was signed with a key that the issuer does not publish"
        )

    async def load(self) -> None:
        """Fetch once; how that went, the log says."""
        async with self._lock:
            await self._refresh()

    async def run(self) -> None:
        """Fetch now and again and again, until cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(RETRY if self._failed else REFRESH)

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                keys = parse(await self._fetch())
        except TimeoutError:
            self._fail(f"no answer within {TIMEOUT:g} s")
        except (aiohttp.ClientError, OSError, BadKeySet) as error:
            self._fail(str(error) or type(error).__name__)
        else:
            if self._failed or not self._is_loaded:
                count = len(keys.named) + sum(map(len, keys.unnamed.values()))
                logger.info("%d keys for tokens from %s", count, self._source)
            self._keys = keys
            self._failed = False
            self._is_loaded = True
        finally:
            # Counted from the end: a source that is slow is not asked more often for it.
            self._fetched_at = self._clock()

    def _fail(self, reason: str) -> None:
        # Once: somebody who is down for an hour is asked often.
        level = logging.DEBUG if self._failed else logging.WARNING
        self._failed = True
        kept = "the old ones stay in use" if self._is_loaded else "there are none yet"
        logger.log(
            level,
            "the keys for tokens cannot be had from %s (%s): %s",
            self._source,
            reason,
            kept,
        )


def from_file(path: Path) -> Fetch:
    """Reads the set from a file."""

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)

    async def fetch() -> bytes:
        return await asyncio.to_thread(read)

    return fetch


async def check_file(path: Path) -> None:
    """See whether the file of [auth] jwks_file can be used.

    Raises:
        ConfigError: it cannot be read, or holds no key set.
    """
    try:
        parse(await from_file(path)())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"auth.jwks_file: {path} cannot be read: {reason}") from None
    except BadKeySet as error:
        raise ConfigError(f"auth.jwks_file: {path}: {error}") from None


def from_url(http: aiohttp.ClientSession, url: str) -> Fetch:
    """Gets the set by HTTP; redirects are followed, but never from https: to http:."""

    async def fetch() -> bytes:
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            async with http.get(
                target,
                allow_redirects=False,
                headers={"Accept": "application/jwk-set+json, application/json"},
            ) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    target = _redirected(target, location)
                    continue
                if response.status != 200:
                    raise BadKeySet(f"status {response.status}")
                return await _read(response)
        raise BadKeySet(f"more than {MAX_REDIRECTS} redirects")

    return fetch


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    scheme = urlsplit(target).scheme
    if scheme not in ("http", "https") or (
        urlsplit(url).scheme == "https" and scheme != "https"
    ):
        raise BadKeySet("a redirect to something that is not https:")
    return target


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > MAX_BYTES:
            raise BadKeySet(f"more than {MAX_BYTES} bytes")
    return bytes(data)
