"""Code of rows: what a query's sources put before its expressions.

Names in generated code, with the number of the source: `r` is the row (of events, the struct of
the used fields), `w` the stored line of an event, `d` a struct of what is needed late.
A field's text is only for rows that are written out as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    FieldAccess,
    GroupKey,
    LogSource,
    TypedExpression,
    operands,
)
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.codegen.structs import (
    EVENT_START,
    EVENT_STOP,
    MARK,
    EventStructs,
    Path,
    Sign,
    event_text_of,
    event_value_of,
    text_of_line,
    value_below,
)
from everlog.eventql.planning.fallible import is_event_id
from everlog.eventql.planning.plan import EvaluationContext
from everlog.eventql.trees import walk
from everlog.eventql.types import STRING, Kind

_TIME: Final = ("time",)
_SIGNATURE: Final = ("signature",)
_HASH: Final = ("hash",)
_DATA: Final = "data"


class Use(NamedTuple):
    """One field that a query uses: as a value or as a text, before its row is chosen or after."""

    path: Path
    is_text: bool
    is_early: bool


def uses_of(
    source: int,
    *,
    early: Iterable[TypedExpression],
    late: Iterable[TypedExpression],
    texts: Iterable[FieldAccess],
) -> frozenset[Use]:
    """Return what is used of one source by expressions evaluated early, late, or as texts."""
    uses = {
        Use(node.path, is_text=False, is_early=is_early)
        for is_early, expressions in ((True, early), (False, late))
        for expression in expressions
        for node in walk(expression, operands)
        if isinstance(node, FieldAccess) and node.source == source
    }
    uses |= {
        Use(node.path, is_text=True, is_early=False) for node in texts if node.source == source
    }
    return frozenset(uses)


class EventRows:
    """Code for the rows of a source of events."""

    size_max = EVENT_SIZE_MAX

    def __init__(
        self, module: GeneratedModule, index: int, uses: frozenset[Use], *, is_signed: bool
    ) -> None:
        self._module = module
        self._index = index
        self._is_signed = is_signed
        stored = [use for use in uses if _is_stored(use, is_signed=is_signed)]
        values = {_stored_path(use) for use in stored if not use.is_text}
        # What is a value anyway is written from that.
        texts = {_stored_path(use) for use in stored if use.is_text} - values
        # A field cannot be decoded as a text and be looked into at once. So the outermost ones of
        # those are decoded once more, from the line, for chosen rows only; inside, values serve.
        entered = {text for text in texts if _has_below(text, values | texts)}
        self._late_paths = {text for text in entered if not _is_below_any(text, entered)}
        texts -= entered
        values |= entered - self._late_paths
        self.structs = EventStructs(values=values, texts=texts)
        self.has_fields = bool(values or texts)
        self.late_structs = (
            EventStructs(values=(), texts=self._late_paths) if self._late_paths else None
        )
        whole = [use for use in uses if not use.path]
        self.needs_line = bool(whole or self._late_paths)
        self.needs_line_early = any(use.is_early for use in whole)

    @property
    def late_line(self) -> list[str]:
        """The statement that decodes what is needed of a chosen row only."""
        if self.late_structs is None:
            return []
        decode = self._module.constant(self.late_structs.decode_line)
        return [f"d{self._index} = {decode}(w{self._index}).f0"]

    def field(self, access: FieldAccess) -> Code:
        """Return the code of a value."""
        module = self._module
        line = f"w{self._index}"
        path = access.path
        if not path:
            text = module.call(event_value_of, access.span, line, self._sign())
            return Code(text, access.type, 1, size_max=EVENT_SIZE_MAX)
        if path[0] != _DATA and len(path) > 1:
            return _null(access)
        if path == _SIGNATURE:
            return self._signature(access)
        text = self.structs.value_code(module, f"r{self._index}", path, access.span)
        code = Code(text, access.type, len(path) - 1, size_max=EVENT_SIZE_MAX)
        if path[0] == _DATA:
            return code._replace(decoded_at=access.span)
        return code._replace(is_name=True, is_event_time=path == _TIME)

    def text(self, access: FieldAccess) -> str:
        """Return the code of what is written of a field."""
        module = self._module
        path = access.path
        if not path:
            line = f"w{self._index}"
            return f"{module.constant(text_of_line)}({line}, {self._sign()})"
        if path[0] != _DATA:
            return self.field(access).text
        if path in self._late_paths:
            assert self.late_structs is not None
            return self.late_structs.text_code(module, f"d{self._index}", path, access.span)
        return self.structs.text_code(module, f"r{self._index}", path, access.span)

    def event_code(self) -> str:
        """Return the code of the JSON of a whole event, as bytes."""
        module = self._module
        line = f"w{self._index}"
        if not self._is_signed:
            start, stop = module.constant(EVENT_START), module.constant(EVENT_STOP)
            return f"{line}.rstrip({module.constant(MARK)})[{start}:{stop}]"
        return f"{module.constant(event_text_of)}({line}, {self._sign()})"

    def _sign(self) -> str:
        """Return the name of what signs; of None where signatures are off."""
        return self._module.fixed(_sign) if self._is_signed else "None"

    def _signature(self, access: FieldAccess) -> Code:
        if not self._is_signed:
            return _null(access)
        hash_ = self.structs.value_code(self._module, f"r{self._index}", _HASH, access.span)
        return Code(f"{self._sign()}({hash_})", STRING, 1)


class ValueRows:
    """Code for rows that are values already: names, and the rows of a subquery."""

    needs_line = False
    needs_line_early = False
    has_fields = True
    late_line: Sequence[str] = ()

    def __init__(self, module: GeneratedModule, index: int, *, size_max: int) -> None:
        self._module = module
        self._index = index
        self.size_max = size_max

    def field(self, access: FieldAccess) -> Code:
        """Return the code of a value."""
        row = f"r{self._index}"
        if not access.path:
            return Code(row, access.type, is_name=True, size_max=self.size_max)
        if len(access.path) == 1:
            key = self._module.constant(access.path[0])
            text = f"({row}.get({key}) if type({row}) is dict else None)"
        else:
            path = self._module.constant(access.path)
            text = f"{self._module.constant(value_below)}({row}, {path})"
        return Code(text, access.type, 1, size_max=self.size_max)


class RowEnvironment:
    """What expressions find that are evaluated for each row."""

    def __init__(
        self,
        module: GeneratedModule,
        sources: Sequence[LogSource | AnalyzedQuery],
        rows: Sequence[EventRows | ValueRows],
    ) -> None:
        self.module = module
        self._sources = sources
        self._rows = rows
        names = []
        for index, source in enumerate(rows):
            names += [f"r{index}"] if source.has_fields else []
            names += [f"w{index}"] if source.needs_line else []
        self.parameters = ", ".join(names)

    def field(self, access: FieldAccess) -> Code:
        """Return the code of a field's value."""
        return self._rows[access.source].field(access)

    def text(self, access: FieldAccess) -> str:
        """Return the code of what is written of an event's field."""
        rows = self._rows[access.source]
        assert isinstance(rows, EventRows)
        return rows.text(access)

    def event_code(self, access: FieldAccess) -> str:
        """Return the code of the JSON of a whole event, as bytes."""
        rows = self._rows[access.source]
        assert isinstance(rows, EventRows)
        return rows.event_code()

    def is_event_id(self, expression: TypedExpression) -> bool:
        """Tell whether it is the id of an event, which is a whole number as a text."""
        return is_event_id(expression, self._sources)

    def group_key(self, key: GroupKey) -> Code:
        """There are no groups yet."""
        raise AssertionError(key)

    def aggregate(self, value: AggregateValue) -> Code:
        """There are no aggregates yet."""
        raise AssertionError(value)


def _stored_path(use: Use) -> Path:
    return _HASH if use.path == _SIGNATURE else use.path


def _sign(context: EvaluationContext, _known: Mapping[str, Any]) -> Sign | None:
    return context.sign


def _is_stored(use: Use, *, is_signed: bool) -> bool:
    """Tell whether a field is decoded: the whole line is not, and what is NULL anyway neither."""
    path = use.path
    if not path or (path == _SIGNATURE and not is_signed):
        return False
    return path[0] == _DATA or len(path) == 1


def _has_below(path: Path, others: Iterable[Path]) -> bool:
    return any(_is_below(other, path) for other in others)


def _is_below_any(path: Path, others: Iterable[Path]) -> bool:
    return any(_is_below(path, other) for other in others)


def _is_below(path: Path, other: Path) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _null(access: FieldAccess) -> Code:
    return Code("None", access.type | {Kind.NULL}, is_name=True)
