"""Handing a job's secrets to the provider that was awarded it, and to nobody else."""
