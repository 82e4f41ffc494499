"""Load py-libp2p without the packages that only its unused parts need.

Its package imports all its parts, and those import HTTP clients for certificates,
QUIC, WebSocket, RSA and a resolver of names: a third of the time that a command of ours
takes, and a fifth of an idle node's memory, for code that a host of TCP and Noise whose
addresses were looked up, and whose peers have Ed25519 keys, never reaches. Rule: only
while the library is imported do stand-ins answer to the names in `UNUSED`; they are
forgotten then, so that programs which use us find the real packages. Source: the
import system's finders, https://docs.python.org/3/reference/import.html#the-meta-path.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final, NoReturn

UNUSED: Final = frozenset(
    {
        "Crypto",
        "aioquic",
        "dns",
        "httpx",
        "prometheus_client",
        "requests",
        "trio_websocket",
        "wsproto",
        "zeroconf",
    }
)
"""Packages whose every use in py-libp2p 0.8.1 lies in its transports for QUIC,
WebSocket and WebTransport, in fetching certificates for them, in its own search of the
local network and its own looking up of names, in the place of which we have ours, in
RSA keys, which make no peer id of ours, or in counting what it does."""

MADE_IN_VAIN: Final = frozenset({"dns"})
"""Packages of which the library makes something that it then never uses: a resolver
for every host, also for one whose addresses were looked up before."""


class _AnyName(type):
    """Gives a class every attribute, as enumerations and nested names are read."""

    def __getattr__(cls, name: str) -> type:
        return _stand_in(name, StandIn)


class StandIn(metaclass=_AnyName):
    """Stands for a class that the library mentions; nobody can make one."""

    def __init__(self, *_: object, **__: object) -> None:
        raise ImportError(f"{type(self).__name__} was left out of py-libp2p here")


class Hollow(StandIn):
    """Stands for a class of which the library makes one; nobody can use it."""

    def __init__(self, *_: object, **__: object) -> None:
        """Be there."""

    def __getattr__(self, name: str) -> NoReturn:
        kind = type(self).__name__
        raise ImportError(f"{kind}.{name} was left out of py-libp2p here")


class _Package(ModuleType):
    """A package in which every name is found."""

    def __getattr__(self, name: str) -> type:
        package = self.__name__.partition(".")[0]
        return _stand_in(name, Hollow if package in MADE_IN_VAIN else StandIn)


class _Finder(MetaPathFinder, Loader):
    """Finds stand-ins for some packages and all that is in them."""

    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages
        self.made: list[str] = []

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Return what makes a stand-in, if one of our packages is meant."""
        if fullname.partition(".")[0] not in self._packages:
            return None
        self.made.append(fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the stand-in."""
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Have it ready: there is nothing to run."""


def _stand_in(name: str, kind: type[StandIn]) -> type:
    if name.startswith("__"):
        # The import system and the typing module ask for these, to see what is not.
        raise AttributeError(name)
    return _AnyName(name, (kind,), {})


@contextmanager
def _left_out(packages: frozenset[str]) -> Iterator[None]:
    """Leave packages out of what is imported; those already loaded stay real."""
    finder = _Finder(packages - sys.modules.keys())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.made:
            sys.modules.pop(name, None)


with _left_out(UNUSED):
    import libp2p  # noqa: F401 - this loads all its parts
