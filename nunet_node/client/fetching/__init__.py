"""Getting a result: from this home, its provider, holders, or anybody."""
