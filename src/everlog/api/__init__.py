"""The HTTP API of EventSourcingDB, versions 1 and 2, over the use cases.

`routes` shows the whole surface on one screen. Both versions share their endpoints; each has its
request bodies, and a look: how it reads those, how it shows things, and how it says no.
Of what the server says, status codes, paths and wire names are known here only.
"""
