"""Of which columns of its parents each column of a model is made, read from the compiled SQL.

A column is made of the columns that its expression names. Those that only choose, join, group or
order the rows of a query are not among them. sqlglot parses the SQL; which name means which column
is decided here, by DuckDB's rules. SQL without a rule here has no lineage, rather than a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

ColumnRef: TypeAlias = tuple[str, str]
"""The unique id of a dbt node, and one of its columns."""
Refs: TypeAlias = frozenset[ColumnRef]
Columns: TypeAlias = Sequence[tuple[str, Refs]]
"""The columns of a relation in their order; an expression without an alias has no name."""

NONE: Refs = frozenset()
NO_NAME = ""
NO_NAMES: frozenset[str] = frozenset()
FILE_PATH = "filename"
SELECT_PARTS = frozenset(
    {
        *("expressions", "from_", "joins", "where", "group", "having", "qualify", "order"),
        *("limit", "offset", "distinct", "with_", "windows"),
    }
)
EXISTS_PARTS = frozenset({"expressions", "from_", "joins", "where"})
SET_OPERATION_PARTS = frozenset(
    {"this", "expression", "distinct", "by_name", "order", "limit", "offset", "with_"}
)
SUBQUERY_PARTS = frozenset({"this", "alias", "order", "limit", "offset", "with_"})
TABLE_PARTS = frozenset({"this", "db", "catalog", "alias"})
JOIN_PARTS = frozenset({"this", "on", "side", "kind", "method"})
WITHOUT_COLUMNS_OF_THE_RIGHT = frozenset({"SEMI", "ANTI"})
LEAVES = (exp.Literal, exp.Boolean, exp.Null, exp.Identifier, exp.Var, exp.Func, exp.DataType)

INDIRECT = (exp.PositionalColumn, exp.Parameter, exp.Placeholder, exp.Columns)


class UnknownLineageError(Exception):
    """SQL for which this module has no rule."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A node of dbt that a query can read."""

    unique_id: str
    name: str
    """The name of a model, or the path that is read as parquet."""
    columns: Sequence[str]


def trace_columns(sql: str, relations: Iterable[Relation]) -> dict[str, Refs]:
    """Return the columns that a query over relations yields, each with those it is made of.

    Raises UnknownLineageError if the SQL has a construct without a rule.
    """
    try:
        query = sqlglot.parse_one(sql, dialect="duckdb")
    except SqlglotError as error:
        raise UnknownLineageError(f"sqlglot cannot parse it: {_first_line(error)}") from error
    bases = {relation.name.lower(): relation for relation in relations}
    columns = _Query(bases, {}).read(query)
    names = [name for name, _ in columns]
    if NO_NAME in names or len({name.lower() for name in names}) < len(names):
        raise UnknownLineageError("two columns have one name, or one has none")
    return dict(columns)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@dataclass(slots=True)
class _Scope:
    """The names that expressions of one select can use."""

    sources: dict[str, Columns] = field(default_factory=dict)
    """By alias in lower case, in the order of `*`."""
    aliases: dict[str, Refs] = field(default_factory=dict)
    """Columns of the same select that are before the expression."""
    windows: dict[str, exp.Expr] = field(default_factory=dict)
    has_files: bool = False
    """True if a source is read from files, whose paths DuckDB gives as a column outside of `*`."""
    outer: _Scope | None = None

    def find(self, parts: Sequence[str]) -> Refs:
        """Return what a dotted name means: a column, a field of one, an alias or a whole row."""
        first, *rest = (part.lower() for part in parts)
        if rest and first in self.sources:
            matches = [refs for name, refs in self.sources[first] if name.lower() == rest[0]]
            if matches:
                return _single(matches, parts)
        matches = [refs for _, name, refs in self._columns() if name.lower() == first]
        if matches:
            return _single(matches, parts)
        if first == FILE_PATH and self.has_files:
            return NONE
        if first in self.aliases:
            return self.aliases[first]
        if first in self.sources and not rest:
            return _union(refs for _, refs in self.sources[first])
        if self.outer is not None:
            return self.outer.find(parts)
        raise UnknownLineageError(f"no table has the column {'.'.join(parts)}")

    def _columns(self) -> Iterator[tuple[str, str, Refs]]:
        for alias, columns in self.sources.items():
            for name, refs in columns:
                yield alias, name, refs

    def star(self, table: str | None) -> list[tuple[str, Refs]]:
        """Return the columns of `*`, or of the `*` of one table."""
        if table is None:
            return [(name, refs) for _, name, refs in self._columns()]
        if table.lower() not in self.sources:
            raise UnknownLineageError(f"{table}.* is not of a table")
        return list(self.sources[table.lower()])


class _Query:
    """Reads a query whose common table expressions are in `ctes`."""

    def __init__(
        self,
        bases: Mapping[str, Relation],
        ctes: Mapping[str, Columns],
        outer: _Scope | None = None,
    ) -> None:
        self._bases, self._ctes, self._outer = bases, dict(ctes), outer

    def read(self, query: exp.Expr) -> Columns:
        """Return the columns of a query of any kind."""
        self._read_ctes(query)
        match query:
            case exp.Select():
                return self._read_select(query)
            case exp.SetOperation():
                return self._read_set_operation(query)
            case exp.Subquery():
                _require_parts(query, SUBQUERY_PARTS)
                return _rename(self._nested().read(query.this), query.args.get("alias"))
            case exp.Pivot():
                return self._read_unpivot(query)
        raise _no_rule(query)

    def _nested(self, outer: _Scope | None = None) -> _Query:
        return _Query(self._bases, self._ctes, outer or self._outer)

    def _read_ctes(self, query: exp.Expr) -> None:
        clause = query.args.get("with_")
        if clause is None:
            return
        if clause.args.get("recursive"):
            raise UnknownLineageError("it has a recursive query")
        for cte in clause.expressions:
            columns = self._nested().read(cte.this)
            self._ctes[cte.alias.lower()] = _rename(columns, cte.args.get("alias"))

    def _read_select(self, select: exp.Select) -> Columns:
        _require_parts(select, SELECT_PARTS)
        scope = _Scope(outer=self._outer)
        for window in select.args.get("windows") or ():
            scope.windows[window.this.name.lower()] = window
        clause = select.args.get("from_")
        if clause is not None:
            self._add_source(scope, clause.this)
        for join in select.args.get("joins") or ():
            _require_parts(join, JOIN_PARTS)
            if join.args.get("method") == "NATURAL":
                raise UnknownLineageError("it has a natural join")
            if join.args.get("kind") not in WITHOUT_COLUMNS_OF_THE_RIGHT:
                self._add_source(scope, join.this)
        columns: list[tuple[str, Refs]] = []
        for projection in select.expressions:
            for name, refs in self._read_projection(scope, projection):
                columns.append((name, refs))
                if name:
                    scope.aliases.setdefault(name.lower(), refs)
        return columns

    def _add_source(self, scope: _Scope, source: exp.Expr) -> None:
        if isinstance(source, exp.Table):
            _require_parts(source, TABLE_PARTS)
            columns = _rename(self._read_table(source), source.args.get("alias"))
            scope.has_files |= isinstance(source.this, exp.ReadParquet)
        elif isinstance(source, exp.Subquery):
            columns = self._nested().read(source)
        else:
            raise _no_rule(source)
        alias = (source.alias_or_name or f"source {len(scope.sources)}").lower()
        if alias in scope.sources:
            raise UnknownLineageError(f"two tables are named {alias}")
        scope.sources[alias] = columns

    def _read_table(self, table: exp.Table) -> Columns:
        function = table.this
        if isinstance(function, exp.ReadParquet):
            paths = [path.name for path in function.expressions if isinstance(path, exp.Literal)]
            name = paths[0] if len(paths) == len(function.expressions) == 1 else str(function)
        elif isinstance(function, exp.Identifier):
            name = function.name
            if not table.db and name.lower() in self._ctes:
                return self._ctes[name.lower()]
        else:
            raise _no_rule(function)
        relation = self._bases.get(name.lower())
        if relation is None:
            raise UnknownLineageError(f"{name} is not one of its parents")
        return [(column, frozenset({(relation.unique_id, column)})) for column in relation.columns]

    def _read_set_operation(self, query: exp.SetOperation) -> Columns:
        _require_parts(query, SET_OPERATION_PARTS)
        left = self._nested().read(query.this)
        right = self._nested().read(query.expression)
        if not isinstance(query, exp.Union):
            return left  # rows of the right choose rows of the left
        if query.args.get("by_name"):
            others = {name.lower(): refs for name, refs in right}
            both = [(name, refs | others.pop(name.lower(), NONE)) for name, refs in left]
            return [*both, *((name, refs) for name, refs in right if name.lower() in others)]
        if len(left) != len(right):
            raise UnknownLineageError("a union has sides of different widths")
        return [(name, refs | more) for (name, refs), (_, more) in zip(left, right, strict=True)]

    def _read_unpivot(self, query: exp.Pivot) -> Columns:
        """Read `unpivot (...) on columns(*) into name a value b`: b is made of every column."""
        into = query.args.get("into")
        on = query.expressions
        is_of_all = len(on) == 1 and isinstance(on[0], exp.Columns) and not _parts(on[0].this)
        if not query.args.get("unpivot") or into is None or not is_of_all:
            raise _no_rule(query)
        if len(into.expressions) != 1:
            raise _no_rule(query)
        values = _union(refs for _, refs in self._nested().read(query.this))
        return [(into.this.name, NONE), (into.expressions[0].name, values)]

    def _read_projection(self, scope: _Scope, projection: exp.Expr) -> Columns:
        if isinstance(projection, exp.Star):
            return self._read_star(scope, projection, scope.star(None))
        if isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
            table = ".".join(part.name for part in projection.parts[:-1])
            return self._read_star(scope, projection.this, scope.star(table))
        if isinstance(projection, exp.Explode) and projection.expressions:
            return self._read_unnested_fields(scope, projection)
        name = projection.alias if isinstance(projection, exp.Alias) else NO_NAME
        if isinstance(projection, (exp.Column, exp.Dot)):
            name = projection.name
        return [(name, self._refs(scope, projection))]

    def _read_star(
        self, scope: _Scope, star: exp.Star, columns: Sequence[tuple[str, Refs]]
    ) -> Columns:
        excluded = {each.name.lower() for each in star.args.get("except_") or ()}
        replaced = {
            each.alias.lower(): self._refs(scope, each.this)
            for each in star.args.get("replace") or ()
        }
        renamed = {each.this.name.lower(): each.alias for each in star.args.get("rename") or ()}
        return [
            (renamed.get(name.lower(), name), replaced.get(name.lower(), refs))
            for name, refs in columns
            if name.lower() not in excluded
        ]

    def _read_unnested_fields(self, scope: _Scope, function: exp.Explode) -> Columns:
        """Read `unnest([struct_pack(...)], recursive := true)`: a column for each field."""
        rows = function.this.expressions if isinstance(function.this, exp.Array) else []
        fields: dict[str, Refs] = {}
        for row in rows:
            members = row.expressions if isinstance(row, exp.Struct) else []
            if not members or not all(isinstance(each, exp.PropertyEQ) for each in members):
                raise _no_rule(function)
            for member in members:
                name = member.this.name
                fields[name] = fields.get(name, NONE) | self._refs(scope, member.expression)
        if not fields:
            raise _no_rule(function)
        return list(fields.items())

    def _refs(self, scope: _Scope, node: exp.Expr, parameters: frozenset[str] = NO_NAMES) -> Refs:
        """Return the columns that an expression names; `parameters` are those of lambdas."""
        match node:
            case exp.Column() if not isinstance(node.this, exp.Star):
                names = [part.name for part in node.parts]
                return NONE if names[0].lower() in parameters else scope.find(names)
            case exp.Query():
                return _union(refs for _, refs in self._nested(scope).read(node))
            case exp.Exists():
                return self._refs_of_exists(scope, node)
        parts = _value_parts(scope, node)
        if isinstance(node, INDIRECT) or not (parts or isinstance(node, LEAVES)):
            raise _no_rule(node)
        inner = parameters | _parameters(node)
        # The list of a comprehension may have the name of its parameter.
        listed = node.args.get("iterator") if isinstance(node, exp.Comprehension) else None
        return _union(
            self._refs(scope, part, parameters if part is listed else inner) for part in parts
        )

    def _refs_of_exists(self, scope: _Scope, node: exp.Exists) -> Refs:
        """Return what the condition of `exists (select ... where ...)` names."""
        query = node.this
        if not isinstance(query, exp.Select):
            raise _no_rule(node)
        _require_parts(query, EXISTS_PARTS)
        where = query.args.get("where")
        condition = query.copy()
        condition.set("expressions", [where.this.copy()] if where else [])
        return _union(refs for _, refs in self._nested(scope).read(condition))


def _value_parts(scope: _Scope, node: exp.Expr) -> list[exp.Expr]:
    """Return the parts of an expression of which its value is made."""
    parts = _parts(node)
    if isinstance(node, exp.Count):
        return [part for part in parts if not (isinstance(part, exp.Star) and not _parts(part))]
    if isinstance(node, exp.Window) and node.alias:
        window = scope.windows.get(node.alias.lower())
        if window is None:
            raise UnknownLineageError(f"no window is named {node.alias}")
        return [node.this, *_parts(window)]
    return [] if isinstance(node, exp.DataType) else parts


def _parameters(node: exp.Expr) -> frozenset[str]:
    """Return the names that a lambda or a list comprehension declares."""
    if isinstance(node, exp.Comprehension):
        if node.args.get("position"):
            raise _no_rule(node)
        return frozenset({node.expression.name.lower()})
    if not isinstance(node, exp.Lambda):
        return NO_NAMES
    names = {parameter.name.lower() for parameter in node.expressions}
    if names.isdisjoint(each.name.lower() for each in node.this.find_all(exp.Identifier)):
        raise _no_rule(node)  # it may be the operator -> of JSON
    return frozenset(names)


def _parts(node: exp.Expr) -> list[exp.Expr]:
    """Return the expressions directly below a node."""
    values = (v if isinstance(v, list) else [v] for v in node.args.values())
    return [each for each in chain.from_iterable(values) if isinstance(each, exp.Expr)]


def _require_parts(node: exp.Expr, supported: frozenset[str]) -> None:
    unknown = sorted(name for name, value in node.args.items() if value and name not in supported)
    if unknown:
        raise UnknownLineageError(f"no rule for {', '.join(unknown)} of {_show(node)}")


def _rename(columns: Columns, alias: Any) -> Columns:  # noqa: ANN401 - None or any node of sqlglot
    """Return the columns with the names of an alias such as `t (a, b)`, where it has some."""
    names = alias.columns if isinstance(alias, exp.TableAlias) else []
    new = [name.name for name in names]
    if len(new) > len(columns):
        raise UnknownLineageError(f"the alias {alias} has too many columns")
    return [(new[n] if n < len(new) else name, refs) for n, (name, refs) in enumerate(columns)]


def _single(matches: Sequence[Refs], parts: Sequence[str]) -> Refs:
    if len(matches) > 1:
        raise UnknownLineageError(f"{'.'.join(parts)} may be of several tables")
    return matches[0]


def _union(refs: Iterable[Refs]) -> Refs:
    return frozenset(chain.from_iterable(refs))


def _no_rule(node: exp.Expr) -> UnknownLineageError:
    return UnknownLineageError(f"no rule for {_show(node)}")


def _show(node: exp.Expr) -> str:
    text = " ".join(node.sql(dialect="duckdb").split())
    return text if len(text) <= 60 else f"{text[:59]}…"
