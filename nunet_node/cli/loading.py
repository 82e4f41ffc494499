"""Loading the code of a command, which is most of what a short one does.

Rule: nobody looks through what is loaded for garbage, neither meanwhile nor later in
a command that soon ends: it all stays, and looking takes a fifth as long as loading
(https://docs.python.org/3/library/gc.html#gc.freeze). The network's library is loaded
with the commands that join the network in any case, and by others when they do.
"""

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Final

NETWORK: Final = "nunet_node.network.host"


def load(name: str, *, joins: bool) -> ModuleType:
    """Return a command's module.

    Args:
        name: the module's.
        joins: whether the command joins the network in any case.
    """
    if name in sys.modules:
        return sys.modules[name]
    collected = gc.isenabled()
    gc.disable()
    try:
        if joins:
            import_module(NETWORK)
        return import_module(name)
    finally:
        gc.freeze()
        if collected:
            gc.enable()
