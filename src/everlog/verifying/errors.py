"""The one way in which the verifier says no."""


class VerificationError(Exception):
    """What was given does not show what it should; the message says why, as a sentence."""
