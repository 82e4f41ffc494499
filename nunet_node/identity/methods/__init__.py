"""DIDs whose documents are found in other ways than did:key's."""
