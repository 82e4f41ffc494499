"""What comes out of a job: manifests and chunks, as functions over bytes."""
