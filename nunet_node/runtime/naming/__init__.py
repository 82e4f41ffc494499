"""Opening frames, with the documents of the did:webs that signed in them."""
