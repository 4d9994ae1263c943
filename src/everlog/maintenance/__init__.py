"""Work on a whole data directory while no server has it open.

An audit reads the directory from the description of its format, and tells everything that is not
as it was written. It is the second opinion on what the engine wrote: it shares no code with the
engine but the rules of the hash chain (`domain.chain`), so that a mistake in one is seen by the
other, and it changes nothing.
What is left to others: repairing (nobody does; the pages say what to do), and the rules about what
a client may write.
"""
