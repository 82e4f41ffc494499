"""What travels between two peers, one module a protocol.

`control` carries the node's own frames; `blocks` and `handover` move bulk bytes by
content id; `logs` follows a job's output; `grants` says who may ask for what.
"""
