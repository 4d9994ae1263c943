"""The server that a follower mirrors, asked over its own API, in either version.

What it says is read by threads of the follower's, and trusted in nothing: every event is verified
before anybody gets it (`writes`). `source.py` is the way in, `connection.py` has what of it is
HTTP, and `versions.py` what the two versions of the API call things.
"""
