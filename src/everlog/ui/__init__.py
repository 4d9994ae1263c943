"""The management UI: pages that a browser loads as they lie in `browser`, without a build.

They hold no data, and work with the public API as any client does; see docs/internals/ui.md.
What is left to others: the data, and who may have it (`api`).
"""
