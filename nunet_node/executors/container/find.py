"""Where a container engine of this machine listens, if one does."""

import os
from collections.abc import Mapping
from pathlib import Path


def find_socket(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the socket that DOCKER_HOST names, or a usual one that we may write."""
    env = os.environ if environment is None else environment
    scheme, _, path = env.get("DOCKER_HOST", "").partition("://")
    if scheme:
        return Path(path) if scheme == "unix" and path else None
    usual = [Path("/run/podman/podman.sock"), Path("/var/run/docker.sock")]
    if runtime := env.get("XDG_RUNTIME_DIR"):
        usual.insert(0, Path(runtime, "podman/podman.sock"))
    found = (path for path in usual if path.is_socket() and os.access(path, os.W_OK))
    return next(found, None)
