"""Tokens, certificates and keys: read from files, checked, exchanged while the server runs, made.

Guarantees that no message quotes a secret, and that nothing secret is kept beyond its use.
What is left to others: what is behind a token (`api`), how TLS is spoken (`http`), how events are
signed (`domain`).
"""
