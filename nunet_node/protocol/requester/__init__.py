"""The node as a submitting peer: it calls for bids, awards, watches and reads."""
