"""A peer-to-peer compute node: strangers' jobs run safely, results stay their owner's.

Start at `protocol.node`, where everything is decided; see ``ARCHITECTURE.md``.
"""

__version__ = "0.1.0"
