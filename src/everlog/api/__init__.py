"""The HTTP API of EventSourcingDB, versions 1 and 2, over the use cases.

`routes` shows the whole surface on one screen. Each version has its request bodies, its items and
its endpoints; both share authentication, the reading of bodies, and signatures.
This is the only place that knows status codes, paths and wire names.
"""
