"""Generated code holds nothing of a query's text, whatever the text is."""

import io
import json
import keyword
import random
import re
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.eventql.codegen.compiler import CompiledQuery, compile_plan
from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.planning.plan import Plan
from everlog.eventql.planning.planner import prepare
from tests.support.eventql.executing import rows_of
from tests.support.eventql.generator import sensible_query
from tests.support.eventql.logs import a_log
from tests.support.eventql.printer import print_query
from tests.support.eventql.random_logs import random_corpus, vocabulary_of

# A letter and a number: made by us. All other names are these.
OWN_NAME = re.compile(r"[a-z][0-9]+")
WORDS = frozenset(
    {"append", "add", "exchange", "hold", "hold_number", "hold_text"}
    | {"startswith", "endswith", "rstrip", "dict", "get"}
    | {"bool", "enumerate", "float", "int", "len", "list", "str", "type"}
)
# Places in lists made by us.
NUMBER = re.compile(r"-?[0-9]{1,4}")

TOKEN_TYPES = frozenset(
    {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.COMMENT, tokenize.NEWLINE, tokenize.NL}
    | {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
COMMENT = re.compile(r"# x[0-9]+")


def check_source(source: str) -> None:
    """Check that a source is written in our own few words."""
    assert source.isascii()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        assert token.type in TOKEN_TYPES, token
        if token.type == tokenize.NAME:
            is_ours = OWN_NAME.fullmatch(token.string) or token.string in WORDS
            assert is_ours or keyword.iskeyword(token.string), token
        elif token.type == tokenize.NUMBER:
            assert NUMBER.fullmatch(token.string), token
        elif token.type == tokenize.COMMENT:
            assert COMMENT.fullmatch(token.string), token


def sources_of(compiled: CompiledQuery) -> list[str]:
    inner = (source for each in compiled.subqueries.values() for source in sources_of(each))
    return [compiled.program.source, *inner]


def check_plan(plan: Plan) -> None:
    for as_json in (True, False):
        for is_signed in (False, True):
            compiled = compile_plan(plan, is_signed=is_signed, as_json=as_json)
            for source in sources_of(compiled):
                check_source(source)


@given(st.integers(0, 2**32))
def test_no_query_gets_into_the_source_that_is_generated_for_it(seed: int) -> None:
    rng = random.Random(seed)
    text = print_query(sensible_query(rng, vocabulary_of(random_corpus(rng)), has_now=True))
    try:
        plan = prepare(text)
    except QueryMalformedError:
        return

    check_plan(plan)


# What somebody would write who wants to be executed.
HOSTILE = (
    "__import__('os').system('true')",
    "');__import__('os');('",
    "\\",
    '"""',
    "'''",
    "\\n raise",
    "#",
    "{c1}",
    "c1",
    "__builtins__",
    "\u00e9\u2028\x00\x7f",
)
QUOTED = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_characters="\n\r"), max_size=20)


def quoted(text: str) -> str:
    """Return a text as a literal; no literal has both kinds of quotes."""
    text = text.replace("\n", "")
    return f"'{text}'" if "'" not in text else '"{}"'.format(text.replace('"', ""))


@given(QUOTED, QUOTED, st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**63 - 1))
def test_names_and_constants_are_only_handed_over(text: str, name: str, number: float) -> None:
    constant, field = quoted(text), quoted(name)
    query = (
        f"FROM e IN events WHERE e.data.{field}.{field} == {constant} "
        f"OR e.data.{field} > {constant} "
        f"OR e.data.x < {abs(number)} OR [{constant}, 1] CONTAINS e.data.{field} "
        f"OR STARTSWITH(e.data.{field}, {constant}) ORDER BY e.data.{field} "
        f"PROJECT INTO {{ {field}: [e.data.{field}, {constant}, {abs(number)}, e.data] }}"
    )
    try:
        plan = prepare(query)
    except QueryMalformedError:
        # A number that is no literal.
        return

    check_plan(plan)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_texts(text: str) -> None:
    literal, value = quoted(text), quoted(text)[1:-1]
    data = json.dumps({value: {"x": value}, "same": value})
    query = (
        f"FROM e IN events WHERE e.data.{literal}.x == {literal} AND e.data.same == {literal} "
        f"PROJECT INTO {{ {literal}: [e.data.{literal}.x, {literal}] }}"
    )

    assert rows_of(query, a_log(data)) == [{value: [value, value]}]
