"""What whoever watches a server wants to know: is it well, what does it do, what is it.

Figures are read at one moment (`figures`), judged (`checks`), and shown in the form that health
checkers (`health`) or collectors of metrics (`metrics`) know. What the server is and runs on is
told apart from that (`diagnostics`).

Guarantees that nothing here names a subject, an event or a client, and that nothing is counted
here that is not counted anyway: watching costs only those who ask.
What is left to others: who may ask, and how (api).
"""
