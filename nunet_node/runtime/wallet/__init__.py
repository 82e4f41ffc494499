"""What a home's users hold besides their plain keys."""
