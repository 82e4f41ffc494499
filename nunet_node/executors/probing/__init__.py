"""Finding out which engines work here, and which barriers hold, by attacking them."""
