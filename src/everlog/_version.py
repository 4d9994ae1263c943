"""The version of this release and that of the API it speaks, written here and nowhere else."""

__version__ = "0.1.0"

# The version of EventSourcingDB whose API this is. SDKs insist on the name.
COMPATIBLE_VERSION = "1.3.0"
