"""Version 2 of the API: everything in envelopes, errors with codes, streams with an end item."""
