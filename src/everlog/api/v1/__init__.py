"""Version 1 of the API: plain JSON bodies, plain-text errors, streams without an end item."""
