"""The version of this release, written here and nowhere else."""

__version__ = "0.1.0"
