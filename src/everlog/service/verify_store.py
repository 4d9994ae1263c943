"""Verify the store: whether all that is stored, and all that is derived of it, is as it should be.

What was written after it began is not looked at; a later one does.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from everlog.domain.limits import AUDIT_FINDINGS_MAX
from everlog.service.auditing_messages import Found, Verified
from everlog.service.permits import Permit
from everlog.service.store import Store


class Verification(msgspec.Struct, frozen=True):
    """Sentences that name the file, the byte and the event; none where everything is right."""

    errors: list[str]
    # What a crash may leave, and the next opening puts in order.
    warnings: list[str]


async def verify_store(
    store: Store, found: Verification, *, permit: Permit
) -> AsyncGenerator[None, None]:
    """Add what is found, and yield each second meanwhile.

    The permit was acquired before, so that a request can still be refused; here it is released.

    Raises:
        RefusedError: It did not come to its end, or the server is going down; what was found before
            has been added.
    """
    with permit:
        async with aclosing(store.audits.verify_store()) as told:
            async for each in told:
                match each:
                    case None:
                        yield None
                    case Found(is_error=is_error, text=text):
                        (found.errors if is_error else found.warnings).append(text)
                    case Verified():
                        _say_how_many_more(found.errors, each.error_count)
                        _say_how_many_more(found.warnings, each.warning_count)


def _say_how_many_more(texts: list[str], count: int) -> None:
    if count > len(texts):
        assert len(texts) == AUDIT_FINDINGS_MAX
        texts.append(f"and {count - len(texts)} more, which are not told")
