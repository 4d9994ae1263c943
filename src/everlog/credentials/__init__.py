"""Tokens, certificates and keys: read from files, checked, exchanged while the server runs, made.

Guarantees that no message quotes a secret, and that nothing secret is kept beyond its use.
What is left to others: what a token opens (`api`), how TLS is spoken (`http`), how events are
signed (`domain`).
"""

from everlog.credentials.live import LiveCredentials

__all__ = ["LiveCredentials"]
