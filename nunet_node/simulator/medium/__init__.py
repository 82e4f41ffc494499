"""What lies between the simulated machines: links, sessions, gossip, transfers."""
