"""The simulated world: machines, links, gossip and chance."""
