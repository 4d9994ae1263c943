"""A lending library: what an application on Everlog looks like.

`books` has the rules, `library` asks the store and tells it, `overview` is a read model, and
`commands` is what people type.
"""
