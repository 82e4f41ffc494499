"""Running jobs on the machines of a cluster that somebody else schedules."""
