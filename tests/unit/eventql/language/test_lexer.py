import pytest

from everlog.eventql.diagnostic import QueryMalformedError, locate
from everlog.eventql.language.lexer import RESERVED_WORDS, Token, TokenKind, read_tokens
from everlog.eventql.limits import QUERY_LENGTH_MAX


def check_reads(text: str, *expected: str) -> None:
    """Check kinds and texts of the tokens; where both are the same, `expected` has it once."""
    *tokens, end = read_tokens(text)
    told = [" ".join(dict.fromkeys((token.kind.value, token.text))) for token in tokens]
    assert told == list(expected)
    assert end == Token(TokenKind.END, "", (len(text), len(text)))
    assert all(text[token.span.start : token.span.end] == token.text for token in tokens)


def check_refuses(
    text: str, place: tuple[int, int], offending: str, message: str, hint: str | None = None
) -> None:
    with pytest.raises(QueryMalformedError) as caught:
        list(read_tokens(text))

    (diagnostic,) = caught.value.diagnostics
    span = diagnostic.span
    assert (locate(text, span.start), text[span.start : span.end]) == (place, offending)
    assert (diagnostic.message, diagnostic.hint) == (message, hint)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        (" \t\r\n", []),
        ("a b", ["identifier a", "identifier b"]),
        ("_ _a A1 a_b1", ["identifier _", "identifier _a", "identifier A1", "identifier a_b1"]),
        ("FROM from From fRoM", ["FROM", "FROM from", "FROM From", "FROM fRoM"]),
        ("fromage in_ explain", ["identifier fromage", "identifier in_", "identifier explain"]),
        ("end invalid string", ["identifier end", "identifier invalid", "identifier string"]),
        ("if IF count", ["identifier if", "identifier IF", "identifier count"]),
        ("null True fAlse", ["NULL null", "TRUE True", "FALSE fAlse"]),
        ("e.type", ["identifier e", ".", "identifier type"]),
        ("e . type", ["identifier e", ".", "identifier type"]),
        ("e.order", ["identifier e", ".", "ORDER order"]),
        ("== != < <= > >=", ["==", "!=", "<", "<=", ">", ">="]),
        ("+-*/()[]{}.,:", [*"+-*/()[]{}.,:"]),
        ("<=<", ["<=", "<"]),
        ("====", ["==", "=="]),
        ("a<-1", ["identifier a", "<", "-", "integer 1"]),
        ("--1", ["-", "-", "integer 1"]),
        ("1<2", ["integer 1", "<", "integer 2"]),
        ("{a:1}", ["{", "identifier a", ":", "integer 1", "}"]),
    ],
)
def test_reads_words_and_symbols(text: str, expected: list[str]) -> None:
    check_reads(text, *expected)


@pytest.mark.parametrize("kind", sorted(RESERVED_WORDS))
def test_reserved_words_are_known_in_any_casing(kind: TokenKind) -> None:
    for word in (kind.value, kind.value.lower(), kind.value.title()):
        token, _ = read_tokens(word)
        assert token.kind is kind
        assert token.is_word


@pytest.mark.parametrize(
    "text",
    [
        *("'a'", '"a"', "''", '""', '"it\'s"', "'say \"so\"'", "'\\'", '"\\n"', "'// a'", "'/*'"),
        *("'\t'", "'\u2028\x85\x0b'", "'\0'", "'\U0001f600'", "'FROM'"),
        "'2001 \u2013 A Space Odyssey'",
    ],
)
def test_a_string_ends_at_the_next_quote_of_its_kind(text: str) -> None:
    check_reads(text, f"string {text}")


def test_strings_need_no_blanks_around_them() -> None:
    check_reads('"a"PROJECT\'b\'"c"', 'string "a"', "PROJECT", "string 'b'", 'string "c"')


@pytest.mark.parametrize(
    "text, kind",
    [
        ("0", "integer"),
        ("007", "integer"),
        ("9223372036854775808", "integer"),
        ("0.0", "float"),
        ("3.14", "float"),
        ("1e3", "float"),
        ("1E3", "float"),
        ("1e+3", "float"),
        ("1.5e-3", "float"),
        ("1e999", "float"),
    ],
)
def test_reads_numbers(text: str, kind: str) -> None:
    check_reads(text, f"{kind} {text}")


@pytest.mark.parametrize(
    "text",
    [
        "a // to the end\nb",
        "a // to the end\r\nb",
        "a//\nb",
        "a /* here */ b",
        "a/**/b",
        "a/***/b",
        "a/* // */b",
        "a/* one\n * two\n */b",
        "a/* 'it's */b",
        "a // /* \nb",
        "// first\na b",
        "a b // last",
        "a b //",
        "a b /* last */",
        "a/* /* not nested */b",
    ],
)
def test_comments_separate_tokens(text: str) -> None:
    check_reads(text, "identifier a", "identifier b")


def test_two_dashes_begin_no_comment() -> None:
    check_reads("a -- b", "identifier a", "-", "-", "identifier b")


@pytest.mark.parametrize("character", ["\0", "\x0b", "\x0c", "\x85", "\u2028", "\u200b", "\x7f"])
def test_what_cannot_be_seen_is_named_by_its_number(character: str) -> None:
    message = f"unexpected character U+{ord(character):04X}"
    check_refuses(f"a\n {character}b", (2, 2), character, message)


def test_a_no_break_space_is_told_from_a_blank() -> None:
    hint = "this is a no-break space: use a plain one"
    check_refuses("a\u00a0b", (1, 2), "\u00a0", "unexpected U+00A0", hint)


def test_a_byte_order_mark_is_told() -> None:
    hint = "this is a byte order mark: leave it out"
    check_refuses("\ufeffa", (1, 1), "\ufeff", "unexpected U+FEFF", hint)


@pytest.mark.parametrize("letter", ["\u00fc", "\u0430", "\u4e2d", "\u0131"])
def test_identifiers_have_no_letters_but_those_of_ascii(letter: str) -> None:
    hint = 'names with other letters stand between quotes: e.data."..."'
    check_refuses(f"a{letter}b", (1, 2), letter, f"unexpected character '{letter}'", hint)


@pytest.mark.parametrize("digit", ["\u0661", "\u00b2", "\uff11"])
def test_numbers_have_no_digits_but_those_of_ascii(digit: str) -> None:
    check_refuses(digit, (1, 1), digit, f"unexpected character '{digit}'")


@pytest.mark.parametrize("text", ["'a", '"a', "'a\"", "'", "'a\n'", "'a\r'", "'a\r\n'"])
def test_a_string_ends_on_its_line(text: str) -> None:
    hint = "a string ends with the quote that it began with, on the same line"
    check_refuses(text, (1, 1), text.splitlines()[0], "the string is not closed", hint)


@pytest.mark.parametrize("text", ["/*", "/*/", "/* a\nb", "/* *", "/* // "])
def test_a_block_comment_has_an_end(text: str) -> None:
    hint = "a block comment ends with '*/'"
    check_refuses(f"a {text}", (1, 3), "/*", "the comment is not closed", hint)


@pytest.mark.parametrize("text", ["1e", "1ex", "12abc", "1_000", "0x1F", "1e5e5", "1.5_", "1e5.5"])
def test_a_number_ends_before_the_next_word(text: str) -> None:
    hint = "a number has digits after its point" if text == "1e5.5" else None
    check_refuses(text, (1, 1), text, f"malformed number '{text}'", hint)


@pytest.mark.parametrize("text", ["1.", "1..2", "1.2.3", "1.e5", "1.a", "1.5."])
def test_a_point_has_digits_behind_it(text: str) -> None:
    hint = "a number has digits after its point"
    check_refuses(text, (1, 1), text, f"malformed number '{text}'", hint)


def test_a_long_number_is_told_by_its_beginning() -> None:
    message = f"malformed number '{'1' * 57}...'"
    check_refuses("1" * 100 + "a", (1, 1), "1" * 100 + "a", message)


def test_tokens_before_a_fault_come_first() -> None:
    tokens = read_tokens("a b %")

    assert [next(tokens).text, next(tokens).text] == ["a", "b"]
    with pytest.raises(QueryMalformedError):
        next(tokens)


def test_a_text_may_be_as_long_as_the_limit() -> None:
    check_reads("a" * QUERY_LENGTH_MAX, "identifier " + "a" * QUERY_LENGTH_MAX)


def test_a_longer_text_is_refused() -> None:
    text = "a" * QUERY_LENGTH_MAX + "b "
    message = "the query has 65538 characters, but at most 65536 are allowed"
    check_refuses(text, (1, QUERY_LENGTH_MAX + 1), "b", message)
