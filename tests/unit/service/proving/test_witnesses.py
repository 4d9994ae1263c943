"""What is asked of a witness, and what its answers mean."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from everlog.domain.checkpoint import Checkpoint
from everlog.domain.note import VerifierKey, WitnessAddress
from everlog.service.proving.witnesses import Answer, Witness, WitnessState
from tests.support.signed_notes import COSIGNATURE, NoteKey

KEY = NoteKey("w.example/1", COSIGNATURE)
CHECKPOINT = Checkpoint("log.example.com", 7, bytes(32))
NOTE = f"{CHECKPOINT.text}\n\u2014 log.example.com AAAA\n"
PROOF = [bytes([1]) * 32, bytes([2]) * 32]
SIZE = "text/x.tlog.size"


@dataclass
class Scene:
    """A witness that answers as it is told, and what it was asked."""

    answers: list[Answer | OSError]
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    changes: list[WitnessState] = field(default_factory=list)
    proven: list[tuple[int, int]] = field(default_factory=list)

    def post(self, url: str, body: bytes) -> Answer:
        self.asked.append((url, body))
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def prove(self, earlier: int, later: int) -> list[bytes]:
        self.proven.append((earlier, later))
        return PROOF if earlier else []

    def witness(self, *, size: int = 0) -> Witness:
        address = WitnessAddress("http://w.example/prefix/", VerifierKey.parse(KEY.verifier_key))
        found = Witness(
            address, self.post, on_change=lambda witness: self.changes.append(witness.state)
        )
        found.size = size
        return found


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what a test says."""

    now = 1_000.0

    def time(self) -> float:
        """Return that."""
        return self.now


def run(work: Callable[[SteppedLoop], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SteppedLoop)
        runner.run(work(loop))


def ask(witness: Witness, scene: Scene) -> str | None:
    found: list[str | None] = []

    async def work(_: SteppedLoop) -> None:
        found.append(await witness.ask(CHECKPOINT, NOTE, scene.prove))

    run(work)
    return found[0]


def cosigned(text: str = CHECKPOINT.text, key: NoteKey = KEY) -> Answer:
    return Answer(200, "text/plain", key.sign(text, time=5).encode())


def test_a_checkpoint_is_offered_with_the_proof_from_what_the_witness_saw() -> None:
    scene = Scene([cosigned()])
    witness = scene.witness(size=3)

    line = ask(witness, scene)

    lines = "".join(f"{b64encode(each).decode()}\n" for each in PROOF)
    body = f"old 3\n{lines}\n{NOTE}".encode()
    assert scene.asked == [("http://w.example/prefix/add-checkpoint", body)]
    assert line == KEY.sign(CHECKPOINT.text, time=5)
    assert (witness.state, witness.size) == (WitnessState.COSIGNING, 7)
    assert scene.changes == [WitnessState.COSIGNING]


def test_a_witness_that_saw_nothing_gets_no_proof() -> None:
    scene = Scene([cosigned()])
    assert ask(scene.witness(), scene)

    assert scene.asked[0][1].startswith(b"old 0\n\nlog.example.com\n")


@pytest.mark.parametrize("content_type", [SIZE, "Text/X.tlog.size; charset=utf-8"])
def test_a_witness_that_says_another_size_is_asked_from_there(content_type: str) -> None:
    scene = Scene([Answer(409, content_type, b"5\n"), cosigned()])
    witness = scene.witness()

    assert ask(witness, scene)
    assert scene.proven == [(0, 7), (5, 7)]
    assert scene.changes == [WitnessState.COSIGNING]


def test_other_lines_in_the_answer_are_passed_over() -> None:
    other = NoteKey("w.example/2", COSIGNATURE).sign(CHECKPOINT.text, time=5)
    own = KEY.sign(CHECKPOINT.text, time=5)
    scene = Scene([Answer(200, "", f"rubbish\n{other}{own}\u2014 half".encode())])

    assert ask(scene.witness(), scene) == own


@pytest.mark.parametrize(
    "size, answer, reason",
    [
        (0, Answer(409, SIZE, b"8\n"), "a tree of 8 events, and the log has 7"),
        (7, Answer(409, SIZE, b"7\n"), "another tree of 7 events"),
        (7, Answer(409, "", b""), "another tree of 7 events"),
        (3, Answer(422, "", b""), "a tree that the log does not continue"),
    ],
)
def test_a_witness_that_saw_another_history_is_never_asked_again(
    size: int, answer: Answer, reason: str
) -> None:
    scene = Scene([answer])
    witness = scene.witness(size=size)

    assert ask(witness, scene) is None
    assert witness.state is WitnessState.CONTRADICTING
    assert reason in witness.reason

    async def look(loop: SteppedLoop) -> None:
        loop.now += 1e9
        assert not witness.is_due

    run(look)


@pytest.mark.parametrize(
    "answer, reason",
    [
        (OSError("gone"), "gone"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError(), "TimeoutError"),
        (Answer(404, "", b""), "does not know the origin"),
        (Answer(403, "", b""), "does not trust the key"),
        (Answer(400, "", b"secret words"), "status 400"),
        (Answer(503, "", b""), "status 503"),
        (Answer(302, "", b""), "status 302"),
        (Answer(200, "", b""), "no cosignature"),
        (Answer(200, "", b"\xff\xff\n"), "no cosignature"),
        (cosigned(text="log.example.com\n8\n" + CHECKPOINT.text[18:]), "no cosignature"),
        (cosigned(key=NoteKey("w.example/1", COSIGNATURE)), "no cosignature"),
        (Answer(409, SIZE, b"-1"), "no number"),
        (Answer(409, SIZE, b"9" * 30), "no number"),
        (Answer(409, SIZE, b""), "no number"),
        (Answer(409, "", b"5\n"), "refused the size that it says itself"),
        (Answer(409, SIZE, b"3\n"), "refused the size that it says itself"),
    ],
)
def test_a_witness_that_gives_no_cosignature_is_asked_again(
    answer: Answer | OSError, reason: str
) -> None:
    scene = Scene([answer, cosigned()])
    witness = scene.witness(size=3)

    assert ask(witness, scene) is None
    assert witness.state is WitnessState.FAILING
    assert reason in witness.reason
    assert "secret" not in witness.reason
    assert ask(witness, scene)
    assert (witness.state, witness.reason) == (WitnessState.COSIGNING, "")
    assert scene.changes == [WitnessState.FAILING, WitnessState.COSIGNING]


def test_a_witness_whose_size_changes_each_time_is_given_up() -> None:
    scene = Scene([Answer(409, SIZE, b"%d\n" % size) for size in (1, 2, 3, 4)])
    witness = scene.witness()

    assert ask(witness, scene) is None
    assert len(scene.asked) == 3
    assert "another size" in witness.reason


def test_tries_become_rare_and_are_told_of_once() -> None:
    scene = Scene([OSError("gone") for _ in range(9)])
    witness = scene.witness()

    async def fail(loop: SteppedLoop) -> None:
        assert witness.is_due
        pauses = []
        for _ in range(9):
            await witness.ask(CHECKPOINT, NOTE, scene.prove)
            begin = loop.now
            while not witness.is_due:
                loop.now += 0.5
            pauses.append(loop.now - begin)
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    run(fail)
    assert scene.changes == [WitnessState.FAILING]
