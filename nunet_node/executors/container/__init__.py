"""Jobs in containers, through any local engine that speaks Docker's API."""
