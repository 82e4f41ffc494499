"""What a job reaches outside: its provider asks for it, and lends its address."""
