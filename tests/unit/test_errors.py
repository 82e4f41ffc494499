"""Every refusal has one stable name, and bugs have none."""

import importlib
import pkgutil
import re

import nunet_node
from nunet_node.errors import MisuseError, NunetNodeError, PeerError


def _leaves(error: type[PeerError]) -> list[type[PeerError]]:
    below = error.__subclasses__()
    return [error] if not below else [leaf for sub in below for leaf in _leaves(sub)]


def _all_leaves() -> list[type[PeerError]]:
    for module in pkgutil.walk_packages(nunet_node.__path__, "nunet_node."):
        if not module.name.endswith(("__main__", ".analyse")):
            importlib.import_module(module.name)
    return [e for e in _leaves(PeerError) if e.__module__.startswith("nunet_node.")]


def test_every_refusal_has_a_dotted_code_of_its_own_room():
    shape = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)+")
    wrong = {
        e.__qualname__: e.code for e in _all_leaves() if not shape.fullmatch(e.code)
    }
    assert wrong == {}


def test_a_bug_is_not_a_refusal():
    assert not issubclass(MisuseError, PeerError)
    assert not hasattr(MisuseError, "code")
    assert issubclass(MisuseError, NunetNodeError)
