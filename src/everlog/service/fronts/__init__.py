"""One server in several processes: an owner, and fronts that speak with clients.

The *owner* has the data directory, the writer and all else that is there once. A *front* has
connections of clients: it reads the same log by the owner's index, and hands on what it cannot do.
`messages.py` says what they tell each other, `channel.py` how, and `owner.py` and `front.py` are
the two ends.
"""
