"""Looking after the blocks of a home: counting, checking, clearing, archives."""
