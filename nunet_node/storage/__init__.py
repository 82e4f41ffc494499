"""What stays: the journal of facts, the block store, and trees of files on disk."""
