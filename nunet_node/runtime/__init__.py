"""The runtime room: the shell that turns the world into inputs and effects into acts.

`driver` owns the protocol node; `exchange` holds the streams between peers; `peer`
puts everything together. Nothing here decides: what follows from an event is the
protocol room's business.
"""
