"""The network room: the libp2p host, made safe, behind a port.

Everything above talks to `port.Host` and `stream.Stream`; only this room knows
py-libp2p. `memory` is the same port without sockets.
"""
