"""Who said it: keys, DIDs, signed statements, the challenge and the wallet."""
