"""The offline verifier: what a checkpoint, a proof and an event show to somebody without the log.

`offline.py` judges, `notes.py` and `checkpoints.py` read what is signed, `events.py` what was
hashed, `proofs.py` what a server answers, and `merkle.py` computes.

All of it is written from the published rules (RFC 9162, C2SP) and imports nothing of Everlog, so
that it shares no mistake with what writes the log, and can be read on its own.
What is left to others: opening files, printing, exit codes.
"""
