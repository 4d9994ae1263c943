"""A store whose order is decided elsewhere: by a journal that nodes share, or by another server."""
