"""The barriers around a job, and what it uses, as seen from outside."""
