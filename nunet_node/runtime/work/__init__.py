"""Work on this machine: what it can give, and carrying out what the node starts."""
