"""Checkpoints are read as their specification says, and in no other way."""

import pytest

from everlog.verifying.checkpoints import Checkpoint
from everlog.verifying.errors import VerificationError
from tests.support.merkle import tree_root
from tests.support.signed_notes import encoded

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
# The example of c2sp.org/tlog-checkpoint.
EXAMPLE = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n"


def test_the_published_example_is_read() -> None:
    checkpoint = Checkpoint.parse(EXAMPLE)

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert encoded(checkpoint.root) == ROOT
    assert checkpoint.extensions == ()


def test_extension_lines_and_any_origin_are_read() -> None:
    checkpoint = Checkpoint.parse(f"Go module + spaces\n1\n{ROOT}\none\ntwo three\n")

    assert checkpoint.origin == "Go module + spaces"
    assert checkpoint.extensions == ("one", "two three")


def test_an_empty_log_has_the_root_of_no_leaves() -> None:
    assert Checkpoint.parse(f"a\n0\n{encoded(tree_root([]))}\n").size == 0
    with pytest.raises(VerificationError, match="of an empty log and has another root"):
        Checkpoint.parse(f"a\n0\n{ROOT}\n")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "fewer than three lines"),
        (f"a\n1\n{ROOT}", "fewer than three lines"),
        ("a\n1\n", "fewer than three lines"),
        (f"\n1\n{ROOT}\n", "line 1 of the checkpoint is empty"),
        (f"a\n\n{ROOT}\n", "line 2 of the checkpoint is empty"),
        (f"a\n1\n{ROOT}\n\n", "line 4 of the checkpoint is empty"),
        *[
            (f"a\n{size}\n{ROOT}\n", "line 2 of the checkpoint is no size")
            for size in ("01", "00", "+1", "-1", "1.0", "0x1", " 1", "1 ", "\u0661", "1" * 20)
        ],
        *[
            (f"a\n1\n{root}\n", "line 3 of the checkpoint is not the base64 of 32 bytes")
            for root in (ROOT[:-1], ROOT[:-2] + "J=", "AAAA", ROOT + "\x20", ROOT.replace("/", "_"))
        ],
    ],
)
def test_what_is_no_checkpoint_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        Checkpoint.parse(text)
