"""How a job runs safely: engines, sandboxes, limits and what comes out."""
