"""The report: a page and its plots, made from the record of a run and from nothing else."""
