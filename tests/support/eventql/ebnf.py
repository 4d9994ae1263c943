"""Grammars in EBNF: read, to make sentences and to recognise them.

What a grammar describes in words (`? ... ?`) is looked up in a table of examples when making
sentences. Recognising tries every way, remembering what it tried: slow, but obviously right.
Rules must not begin with themselves.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True)
class Terminal:
    """A text."""

    text: str


@dataclass(frozen=True)
class Described:
    """Something that is described in words."""

    words: str


@dataclass(frozen=True)
class Rule:
    """What another rule says."""

    name: str


@dataclass(frozen=True)
class Series:
    """Parts, one after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Choice:
    """One of several."""

    options: tuple["Node", ...]


@dataclass(frozen=True)
class Repeat:
    """The same, any number of times."""

    part: "Node"


Node = Terminal | Described | Rule | Series | Choice | Repeat
Grammar = Mapping[str, Node]
NOTHING = Series(())

_PIECE = re.compile(
    r"""\s*(?:\(\*.*?\*\)\s*)*(?:
        (?P<text> "[^"]*" | '[^']*' ) | \?\s(?P<words>.*?)\s\? | (?P<name>[a-z]+)
        | (?P<symbol>[={}()\[\]|;]) | $)""",
    re.VERBOSE | re.DOTALL,
)


def read_grammar(text: str) -> dict[str, Node]:
    """Return the rules of a grammar by name."""
    pieces = list(_pieces(text))
    rules: dict[str, Node] = {}
    while pieces:
        rule = pieces.pop(0)
        assert isinstance(rule, Rule)
        assert rule.name not in rules
        assert pieces.pop(0) == "="
        rules[rule.name] = _choice(pieces)
        assert pieces.pop(0) == ";"
    return rules


def _pieces(text: str) -> Iterator[Node | str]:
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        assert match is not None, text[position : position + 40]
        position = match.end()
        if match["text"]:
            yield Terminal(match["text"][1:-1])
        elif match["words"]:
            yield Described(match["words"])
        elif match["name"]:
            yield Rule(match["name"])
        elif match["symbol"]:
            yield match["symbol"]


def _choice(pieces: list[Node | str]) -> Node:
    options = [_sequence(pieces)]
    while pieces[0] == "|":
        pieces.pop(0)
        options.append(_sequence(pieces))
    return options[0] if len(options) == 1 else Choice(tuple(options))


def _sequence(pieces: list[Node | str]) -> Node:
    parts: list[Node] = []
    while pieces[0] not in {"|", ";", ")", "]", "}"}:
        piece = pieces.pop(0)
        if not isinstance(piece, str):
            parts.append(piece)
            continue
        inner = _choice(pieces)
        closing = pieces.pop(0)
        assert piece + str(closing) in {"()", "[]", "{}"}
        parts.append(
            {"(": inner, "[": Choice((inner, NOTHING)), "{": Repeat(inner)}[piece],
        )
    return parts[0] if len(parts) == 1 else Series(tuple(parts))


def each_at_most_once(node: Node) -> Node:
    """Return what `{ a | b | ... }` means if each option may come at most once, in any order."""
    assert isinstance(node, Repeat)
    assert isinstance(node.part, Choice)
    options = node.part.options
    orders = (
        order
        for length in range(len(options) + 1)
        for order in itertools.permutations(options, length)
    )
    return Choice(tuple(map(Series, orders)))


def terminals(node: Node) -> Iterator[str]:
    """Yield the texts in a node itself, without those of other rules."""
    match node:
        case Terminal(text):
            yield text
        case Series(inner) | Choice(inner):
            for part in inner:
                yield from terminals(part)
        case Repeat(part):
            yield from terminals(part)
        case Described() | Rule():
            pass
        case _:
            assert_never(node)


def make_sentence(
    grammar: Grammar,
    start: str,
    rng: random.Random,
    *,
    make_token: Callable[[str], str | None],
    heights: Mapping[str, float],
    depth: int,
) -> list[str]:
    """Return the tokens of a sentence.

    `make_token` returns a token for the name of a rule or for words, None for rules to look into;
    at `depth` rules deep, what ends soonest is chosen, by the `heights` of the rules.
    """

    def make(node: Node, left: int) -> Iterator[str]:
        match node:
            case Terminal(text):
                yield text
            case Described(words):
                token = make_token(words)
                assert token is not None, words
                yield token
            case Rule(name):
                token = make_token(name)
                if token is None:
                    yield from make(grammar[name], left - 1)
                else:
                    yield token
            case Series(parts):
                for part in parts:
                    yield from make(part, left)
            case Choice(options):
                least = min(_height(option, heights) for option in options)
                possible = [o for o in options if _height(o, heights) <= max(left, least)]
                yield from make(rng.choice(possible), left)
            case Repeat(part):
                while left > _height(part, heights) and rng.random() < 0.2:
                    yield from make(part, left)
            case _:
                assert_never(node)

    return list(make(grammar[start], depth))


def rule_heights(grammar: Grammar) -> dict[str, float]:
    """Return how many rules deep each rule is at least."""
    heights = dict.fromkeys(grammar, float("inf"))
    changed = True
    while changed:
        found = {name: _height(node, heights) + 1 for name, node in grammar.items()}
        changed = found != heights
        heights = found
    return heights


def _height(node: Node, heights: Mapping[str, float]) -> float:
    match node:
        case Rule(name):
            return heights[name]
        case Series(parts):
            return max((_height(part, heights) for part in parts), default=0)
        case Choice(options):
            return min(_height(option, heights) for option in options)
        case _:
            return 0


def is_sentence(
    grammar: Grammar,
    start: str,
    tokens: Sequence[object],
    *,
    matches: Callable[[object | None, str], bool | None],
) -> bool:
    """Tell whether the tokens are a sentence.

    `matches` tells whether a token is a text or what a rule is named for; it returns None for rules
    to look into, and gets None for the token behind the last one.
    """
    known: dict[tuple[int, int], frozenset[int]] = {}

    def ends(node: Node, at: int) -> frozenset[int]:
        key = (id(node), at)
        if key not in known:
            known[key] = frozenset(find_ends(node, at))
        return known[key]

    def find_ends(node: Node, at: int) -> Iterator[int]:
        match node:
            case Terminal(name) | Rule(name):
                is_match = matches(tokens[at] if at < len(tokens) else None, name)
                if is_match:
                    yield at + 1
                elif is_match is None:
                    yield from ends(grammar[name], at)
            case Series(parts):
                places = {at}
                for part in parts:
                    places = {end for place in places for end in ends(part, place)}
                yield from places
            case Choice(options):
                for option in options:
                    yield from ends(option, at)
            case Repeat(part):
                places, new = {at}, {at}
                while new:
                    new = {end for place in new for end in ends(part, place)} - places
                    places |= new
                yield from places
            case Described(words):
                raise AssertionError(words)
            case _:
                assert_never(node)

    return len(tokens) in ends(grammar[start], 0)
