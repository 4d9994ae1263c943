"""Parser, printer and grammar of EventQL agree, on queries made at random.

`EVENTQL_QUERIES` says how many, `EVENTQL_SEED` which ones: `make test-all` asks for 100,000.
"""

import os
import random
from collections.abc import Iterator

import pytest

from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.language.lexer import RESERVED_WORDS, Token, TokenKind, read_tokens
from everlog.eventql.language.parser import parse, tokens_around
from everlog.eventql.language.syntax import ASSOCIATIVE, Binary, Expression, Query, operands
from everlog.eventql.trees import walk
from tests.support.eventql.any_syntax import any_expression, any_query
from tests.support.eventql.ebnf import (
    each_at_most_once,
    is_sentence,
    make_sentence,
    read_grammar,
    rule_heights,
    terminals,
)
from tests.support.eventql.generator import Sort, Vocabulary, sensible_query
from tests.support.eventql.printer import print_expression, print_query
from tests.support.sources import REPOSITORY

QUERIES = int(os.environ.get("EVENTQL_QUERIES", "3000"))
# Looking for every way in which a grammar could have made a text is slow.
SENTENCES = min(QUERIES // 3, 5_000)
SEED = int(os.environ.get("EVENTQL_SEED", "1"))

VOCABULARY = Vocabulary(
    event_types=("com.example.opened", "com.example.closed"),
    subjects=("/", "/books", "/books/42"),
    times=("2026-01-31T12:00:00Z", "2026-02-01T00:00:00.000000001+02:00"),
    id_stop=100,
    fields={
        ("price",): Sort.NUMBER,
        ("first-name",): Sort.STRING,
        ("is_open",): Sort.BOOLEAN,
        ("tags",): Sort.ARRAY,
        ("where", "from"): Sort.MIXED,
    },
    words=("it's", "book", "\u00fc"),
    numbers=(0, 1, 2.5, 10**12),
)

EXAMPLES = {
    "identifier": ("e", "Events", "x1", "_", "explain", "If"),
    "string": ("''", '"a"', '"it\'s"', "'// \"'", "'\u00fc \\'"),
    "integer": ("0", "007", "42"),
    "float": ("0.0", "1.50", "1e2", "1.5E-3"),
    # Only rules that name tokens are described in words.
    "A to Z, a to z": ("A", "Z", "a", "z", "m"),
    "0 to 9": ("0", "9", "5"),
    'any character but " and line ends': ("'", "\\", "a", "\t", "\u2028", "\0", "*/"),
    "any character but ' and line ends": ('"', "\\", "a", "\t", "\u2028", "\0", "//"),
    "any character but a line feed": ("a", "\r", "/*", "'", '"', "\u00fc"),
    "any text without */": ("", "*", "/*", "'\n'", "**", "a\n"),
    "tab": ("\t",),
    "carriage return": ("\r",),
    "line feed": ("\n",),
}
TOKEN_RULES = ("identifier", "string", "integer", "float")


RULES = read_grammar(
    (REPOSITORY / "src/everlog/eventql/language/grammar.ebnf").read_text(encoding="utf-8")
)
GRAMMAR = RULES | {"tail": each_at_most_once(RULES["tail"])}
HEIGHTS = rule_heights(GRAMMAR)


def seeded(purpose: str) -> random.Random:
    return random.Random(f"{SEED} {purpose}")


def check_reads_as_it_was_printed(query: Query) -> None:
    text = print_query(query)
    read = parse(text).query
    assert read == query
    assert hash(read) == hash(query)
    assert print_query(read) == text


def test_every_printed_query_reads_as_the_same_tree() -> None:
    rng = seeded("any query")
    for _ in range(QUERIES):
        check_reads_as_it_was_printed(any_query(rng))


def test_every_sensible_query_reads_as_the_same_tree() -> None:
    rng = seeded("sensible query")
    for _ in range(QUERIES // 10):
        check_reads_as_it_was_printed(sensible_query(rng, VOCABULARY))


def test_no_pair_of_parentheses_can_be_left_out() -> None:
    rng = seeded("parentheses")
    checked = 0
    for _ in range(QUERIES // 10):
        expression = any_expression(rng, depth=3)
        if any(map(is_chain_of_conditions, walk(expression, operands))):
            # Grouped in an odd way, such a chain may have a pair more than it needs.
            continue
        text = f"FROM e IN events PROJECT INTO {print_expression(expression)}"
        for shorter in without_pairs_of_parentheses(text):
            checked += 1
            try:
                assert parse(shorter).query.projection != expression, (text, shorter)
            except QueryMalformedError:
                continue
    assert checked > QUERIES // 100


def is_chain_of_conditions(expression: Expression) -> bool:
    return (
        isinstance(expression, Binary)
        and expression.operator in ASSOCIATIVE
        and any(
            isinstance(operand, Binary) and operand.operator is expression.operator
            for operand in (expression.left, expression.right)
        )
    )


def without_pairs_of_parentheses(text: str) -> Iterator[str]:
    """Yield the text without each pair of parentheses that is not that of a call."""
    tokens = list(read_tokens(text))
    opened: list[Token | None] = []
    for previous, token in zip([tokens[0], *tokens], tokens, strict=False):
        if token.kind is TokenKind.LEFT_PARENTHESIS:
            opened.append(None if previous.kind is TokenKind.IDENTIFIER else token)
        elif token.kind is TokenKind.RIGHT_PARENTHESIS:
            opening = opened.pop()
            if opening is not None:
                start, end = opening.span.start, token.span.start
                yield f"{text[:start]} {text[start + 1 : end]} {text[end + 1 :]}"


def test_places_are_those_of_the_texts() -> None:
    rng = seeded("places")
    for _ in range(QUERIES // 10):
        text = print_query(any_query(rng))
        query = parse(text).query
        start, end = query.projection.span
        alone = parse(f"FROM e IN events PROJECT INTO {text[start:end]}").query
        assert alone.projection == query.projection
        assert text[query.span.start : query.span.end] == text


def test_the_grammar_names_every_kind_of_token() -> None:
    kinds = {kind.value for kind in TokenKind} - {"end", "invalid", *TOKEN_RULES}
    named = {text for rule in SYNTAX_RULES for text in terminals(GRAMMAR[rule])}

    assert named == kinds | {"EXPLAIN"}
    assert set(terminals(GRAMMAR["reserved"])) == {kind.value for kind in RESERVED_WORDS}


SYNTAX_RULES = (
    *("statement", "query", "from", "alias", "source", "where", "tail"),
    *("order", "group", "skip", "top"),
    *("expression", "exclusive", "conjunction", "negation", "comparison", "containment"),
    *("sum", "product", "signed", "conversion", "type", "primary", "path", "call", "function"),
    *("array", "record", "entry", "field", "literal"),
)


def test_all_rules_of_the_grammar_are_known_here() -> None:
    others = {"reserved", *TOKEN_RULES, "exponent", "comment", "blank", "letter", "digit"}

    assert set(GRAMMAR) == {*SYNTAX_RULES, *others}


@pytest.mark.parametrize("rule", TOKEN_RULES)
def test_the_lexer_reads_each_token_of_the_grammar(rule: str) -> None:
    rng = seeded(rule)
    for _ in range(QUERIES // 10):
        text = make_lexeme(rule, rng)
        # A word may come out reserved: then it is no identifier.
        if text.upper() not in RESERVED_WORDS:
            token, _ = read_tokens(text)
            assert (token.kind.value, token.text) == (rule, text)


@pytest.mark.parametrize("rule", ["blank", "comment"])
def test_the_lexer_reads_nothing_where_the_grammar_says_so(rule: str) -> None:
    rng = seeded(rule)
    for _ in range(QUERIES // 10):
        text = make_lexeme(rule, rng)
        (end,) = read_tokens(text)
        assert end.kind is TokenKind.END


def make_lexeme(rule: str, rng: random.Random) -> str:
    def make_token(name: str) -> str | None:
        return None if name in GRAMMAR else rng.choice(EXAMPLES[name])

    return "".join(
        make_sentence(GRAMMAR, rule, rng, make_token=make_token, heights=HEIGHTS, depth=5)
    )


def make_tokens(rng: random.Random) -> list[str]:
    def make_token(name: str) -> str | None:
        return rng.choice(EXAMPLES[name]) if name in TOKEN_RULES else None

    depth = rng.randrange(14, 28)
    tokens = make_sentence(
        GRAMMAR, "statement", rng, make_token=make_token, heights=HEIGHTS, depth=depth
    )
    return [token.lower() if rng.random() < 0.2 else token for token in tokens]


def spaced(tokens: list[str], rng: random.Random) -> str:
    """Return the tokens as a text; blanks are left out where no two words or numbers meet."""
    text = ""
    for token in tokens:
        may_touch = not text or not (text[-1:] + token[:1]).isascii() or token[0] in "([{)]},:\"'"
        gaps = (" ", "\n", "\t\r\n", " // comment\n", " /* */", *("",) * may_touch)
        text += rng.choice(gaps) + token
    return text


def test_the_parser_accepts_every_sentence_of_the_grammar() -> None:
    rng = seeded("sentences")
    for _ in range(SENTENCES):
        text = spaced(make_tokens(rng), rng)
        parse(text)


def test_the_parser_accepts_just_the_sentences_of_the_grammar() -> None:
    rng = seeded("mutations")
    verdicts = []
    for _ in range(SENTENCES):
        tokens = make_tokens(rng)
        if len(tokens) <= 80:
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                mutate(tokens, rng)
            verdicts.append(check_agreed(" ".join(tokens)))

    assert verdicts.count(True) > len(verdicts) // 20
    assert verdicts.count(False) > len(verdicts) // 2


def mutate(tokens: list[str], rng: random.Random) -> None:
    """Change a token or two."""
    at = rng.randrange(len(tokens))
    other = rng.randrange(len(tokens))
    words = [kind.value for kind in TokenKind if kind not in {"end", "invalid"}]
    word = rng.choice(words)
    strange = rng.choice(EXAMPLES.get(word, (word,)))
    match rng.randrange(5):
        case 0:
            del tokens[at : at + rng.randrange(1, 3)]
            tokens.append("e") if not tokens else None
        case 1:
            tokens[at] = strange
        case 2:
            tokens.insert(at, strange)
        case 3:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        case _:
            tokens.insert(at, tokens[other])


def check_agreed(text: str) -> bool:
    """Check that parser and grammar judge a text alike; return how."""
    *tokens, _ = read_tokens(text)
    is_one = is_sentence(GRAMMAR, "statement", tokens, matches=matches)
    try:
        parse(text)
    except QueryMalformedError as error:
        check_diagnosed(text, error)
        is_read = False
    else:
        is_read = True
    assert is_read == is_one, text
    return is_one


def matches(token: object | None, name: str) -> bool | None:
    if name in SYNTAX_RULES or name == "reserved":
        return None
    if not isinstance(token, Token):
        return False
    return token.kind.value == name or (name == "EXPLAIN" and token.text.upper() == name)


def check_diagnosed(text: str, error: QueryMalformedError) -> None:
    """Check that there is one diagnostic, which points at a piece of the text."""
    (diagnostic,) = error.diagnostics
    assert error.text == text
    assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
    assert diagnostic.message
    assert not diagnostic.message.endswith(".")
    first, last = tokens_around(text, diagnostic.span)
    assert (first.line, first.column) <= (last.line, last.column)


@pytest.mark.parametrize("alphabet", ["FROM e IN(1'\"/*=.,\n", "\0\ufeff\u00e4\U0001f600 'e\r\n"])
def test_any_text_at_all_is_read_or_refused(alphabet: str) -> None:
    rng = seeded("texts")
    for _ in range(SENTENCES):
        text = "".join(rng.choices(alphabet, k=rng.randrange(30)))
        try:
            parse(text)
        except QueryMalformedError as error:
            check_diagnosed(text, error)
