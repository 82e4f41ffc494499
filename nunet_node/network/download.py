"""Files from elsewhere, by their URL and their hash.

Rule: what comes is written to a private file as it comes, never held whole, and is
believed only when all of it has the hash that was declared: so neither the server nor
the way to it has to be trusted, and plain HTTP will do.
"""

import hashlib
from pathlib import Path
from typing import Final

import httpx
import trio

from nunet_node.network.port import NetworkError

REDIRECTS_MAX: Final = 5
"""Redirects that are followed: mirrors take one or two."""

STALL_S: Final = 60
"""How long a server may send nothing."""

PART_BYTES: Final = 1 << 20
"""Bytes in memory at a time."""


class DownloadError(NetworkError):
    """A file cannot be had from its URL, or is another than was declared."""

    code = "network.download"


async def download(url: str, sha256: str, target: Path, *, bytes_max: int) -> None:
    """Write what is at a URL to a new file.

    Args:
        url: HTTP or HTTPS.
        sha256: its hash, in hexadecimal.
        target: a path where nothing is.
        bytes_max: more is not read.

    Raises:
        DownloadError: it is not there, does not say its length, is larger, or has
            another hash.
    """
    digest = hashlib.sha256()
    try:
        async with (
            httpx.AsyncClient(
                follow_redirects=True,
                max_redirects=REDIRECTS_MAX,
                timeout=STALL_S,
                headers={"Accept-Encoding": "identity"},
            ) as client,
            client.stream("GET", url) as answer,
            await trio.open_file(target, "xb") as file,
        ):
            _check_length(answer.raise_for_status(), bytes_max)
            async for part in answer.aiter_raw(PART_BYTES):
                digest.update(part)
                await file.write(part)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise DownloadError(f"cannot fetch {url}: {error}") from None
    if digest.hexdigest() != sha256:
        raise DownloadError(
            f"{url} has the SHA-256 {digest.hexdigest()}, not the declared {sha256}"
        )


def _check_length(answer: httpx.Response, bytes_max: int) -> None:
    """Refuse what is too long, or may be; more than it says is never read."""
    said = answer.headers.get("Content-Length", "")
    if not said.isdecimal():
        raise DownloadError(f"{answer.url} does not say how long it is")
    if int(said) > bytes_max:
        raise DownloadError(f"{answer.url} has {said} bytes, more than {bytes_max}")
