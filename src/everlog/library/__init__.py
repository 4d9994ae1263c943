"""The library: one interface for a store in this process and for one behind a server.

`opening` is the way in, and what `everlog.open` and `everlog.connect` are. `store` has what an
application works with, `values` what it gives and gets, `errors` what goes wrong. `embedded` and
`server` are the two distances, `asynchronous` is the same for event loops.
Importing a part of it loads no more than that part needs: who connects loads nothing of the store.
"""
