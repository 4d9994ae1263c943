"""Everything that changes the log: one writer, its commits, and the process that syncs."""
