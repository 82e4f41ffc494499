"""The node as a provider: it offers room, takes custody of jobs and runs them."""
