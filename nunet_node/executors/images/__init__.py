"""Root file systems that jobs bring along: tars, and images in the OCI layout."""
