"""What a job wrote, while it runs and when no result has it: a chain of pieces."""
