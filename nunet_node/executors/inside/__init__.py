"""What runs in the child process: confine, then become or run the guest.

Nothing here imports the rest of the node, so that the child starts in milliseconds
and holds no secret.
"""
