"""The commands about jobs that are there already."""
