"""Journals that several nodes share, on engines that people run: PostgreSQL, NATS JetStream.

Each keeps the promises of `service.mirroring.journal`, and imports its library when it is made.
"""
