"""Planning: what of a query the indexes can do, and what is left to be judged row by row."""
