"""Proving what the log holds: its Merkle tree, signed checkpoints of it, and their witnesses."""
