"""Commands about who may do what, and what was proved."""
