"""EventQL: query text in, rows out, a one-way pipeline without I/O.

source text -> lexer -> tokens -> parser -> syntax -> analyzer -> analyzed -> planner -> plan ->
compiler -> program -> executor -> rows. Each stage knows only its own business: the lexer no
grammar, the parser no names or types, the analyzer does not evaluate, the executor never sees
text. What values are and what becomes of them stands in `evaluation`, below all of it.
Nothing here reads a clock, a disk or randomness: what is needed of those is an argument.
"""
