"""What the server and the process that syncs say to each other, over a stream socket.

The process sends a reply when it is ready, and one to each request. A request is to sync the file
that was sent last. A file is sent with one byte (SCM_RIGHTS), which is announced by another one,
so that nobody has to look for files where there are none.
There is one request at a time.
"""

import struct
from typing import Final

REQUEST: Final = b"s"
FILE_FOLLOWS: Final = b"f"
FILE: Final = b"."

# 0, or the number of the error with which the sync ended; and how many seconds it took.
REPLY: Final = struct.Struct("<id")
