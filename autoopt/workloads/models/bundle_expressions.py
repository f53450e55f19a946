"""The values of Python expressions that stand for plain data, `$len(@size)` or `$[3.0] if @fast else [1.5]`.

An expression is parsed and its few kinds of parts are computed one by one; nothing of it is ever run by Python. What is
not named here is refused, and so is what would take more than a moment or a few kilobytes.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LONGEST_TEXT = 1_000
MOST_VALUES = 10_000
"""Characters, and values in lists, tuples and dicts, that an expression may come to."""
LARGEST_NUMBER = 2**63
LARGEST_EXPONENT = 64
DEEPEST = 40
REFERENCE = re.compile(r"@\w*(?:::\w*)*")
"""A reference inside an expression, as MONAI finds it; `#` is an older way to write `::`."""
MARK = "reference_{}_of_the_bundle"
MARKS = re.compile(MARK.format(r"(\d+)"))
CONSTANTS = {
    f"monai.utils.{place}CommonKeys.{name.upper()}": name
    for place in ("", "enums.")
    for name in ("image", "label", "pred", "loss", "metadata")
}
"""Names of values that configurations take from MONAI, and what they are."""
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "int": int,
    "float": float,
    "round": lambda number, digits=0: _rounded(number, digits),
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
NUMERIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
ALLOWED = f"literals, references, arithmetic, comparisons, conditions, indices and {', '.join(FUNCTIONS)}"
LookUp = Callable[[str], Any]
"""Gives the plain data that a reference (without its @) stands for."""


class NotPlain(ValueError):
    """An expression that is not computed, and why."""


def evaluate(text: str, look_up: LookUp) -> Any:
    """The plain data that an expression, without its leading $, stands for.

    Raises NotPlain for anything but `ALLOWED`, for what is too large, and for what has no value (1 / 0).
    """
    tree, names = _parsed(text)
    try:
        value = _Evaluation(names, look_up).of(tree.body)
    except (ArithmeticError, TypeError, LookupError) as error:
        raise NotPlain(f"it has no value: {type(error).__name__}: {error}") from error
    except ValueError as error:
        raise error if isinstance(error, NotPlain) else NotPlain(f"it has no value: {error}") from error
    _refuse_texts_that_refer(value)
    return value


def references_only(text: str) -> list[str] | None:
    """The references of which an expression is the sum, `$@first + @second`, in order; None for any other."""
    try:
        tree, names = _parsed(text)
    except NotPlain:
        return None
    terms: list[ast.expr] = [tree.body]
    found: list[str] = []
    while terms:
        term = terms.pop()
        if isinstance(term, ast.BinOp) and isinstance(term.op, ast.Add):
            terms += [term.right, term.left]
        elif isinstance(term, ast.Name) and term.id in names:
            found.append(names[term.id])
        else:
            return None
    return found


def _parsed(text: str) -> tuple[ast.Expression, Mapping[str, str]]:
    """The tree of an expression, and the references in it by the names that stand for them there."""
    if len(text) > LONGEST_TEXT:
        raise NotPlain(f"it must have at most {LONGEST_TEXT} characters, it has {len(text)}")
    if MARKS.search(text):
        raise NotPlain(f"it must not hold {MARK.format(0)!r}")
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        name = MARK.format(len(names))
        names[name] = match.group()[1:]
        return f" {name} "

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd literals: they are no message to the user
            tree = ast.parse(REFERENCE.sub(named, text.replace("#", "::")).strip(), mode="eval")
        _check_depth(tree)
        return tree, names
    except NotPlain:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotPlain(f"it is no expression of Python: {getattr(error, 'msg', error)}") from error


def _check_depth(tree: ast.AST) -> None:
    nodes: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        nodes = [child for node in nodes for child in ast.iter_child_nodes(node)]
    if nodes:
        raise NotPlain("it is nested too deeply")


def _refuse_texts_that_refer(value: Any) -> None:
    """Refuse a result that would be followed as a reference or an expression once more."""
    if isinstance(value, str) and value[:1] in ("@", "%", "$"):
        raise NotPlain(f"a text that it comes to must not begin with {value[0]}")
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_texts_that_refer(item)


class _Evaluation:
    """One evaluation of a tree: what its names refer to, and how each kind of node gets its value."""

    def __init__(self, names: Mapping[str, str], look_up: LookUp) -> None:
        self._names = names
        self._look_up = look_up

    def of(self, node: ast.expr) -> Any:
        """The value of a node."""
        if type(node) not in KINDS:
            raise NotPlain(f"{_said(node)} is not computed, only {ALLOWED}")
        value = KINDS[type(node)](self, node)
        _weight(value)
        return value

    def _constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, str) and MARKS.search(node.value):
            raise NotPlain("a text in it must not hold a reference")
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id not in self._names:
            raise NotPlain(f"the name {node.id} is not known, only {ALLOWED}")
        return self._look_up(self._names[node.id])

    def _attribute(self, node: ast.Attribute) -> Any:
        name = _dotted(node)
        if name not in CONSTANTS:
            raise NotPlain(f"{_said(node)} is not known, only {ALLOWED}")
        return CONSTANTS[name]

    def _list(self, node: ast.List) -> list[Any]:
        return [self.of(item) for item in node.elts]

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.of(item) for item in node.elts)

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        made = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise NotPlain(f"** in a dict is not computed, only {ALLOWED}")
            made[self.of(key)] = self.of(value)
        return made

    def _choice(self, node: ast.IfExp) -> Any:
        return self.of(node.body if self.of(node.test) else node.orelse)

    def _truth(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.Or)
        value = None
        for item in node.values:
            value = self.of(item)
            if bool(value) == wanted:
                break
        return value

    def _sign(self, node: ast.UnaryOp) -> Any:
        value = self.of(node.operand)
        if type(node.op) not in SIGNS:
            raise NotPlain(f"{_said(node)} is not computed, only {ALLOWED}")
        return SIGNS[type(node.op)](value)

    def _comparison(self, node: ast.Compare) -> bool:
        left = self.of(node.left)
        for kind, item in zip(node.ops, node.comparators, strict=True):
            right = self.of(item)
            if not COMPARISONS[type(kind)](left, right):
                return False
            left = right
        return True

    def _arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self.of(node.left), self.of(node.right)
        kind = type(node.op)
        if kind not in NUMERIC:
            raise NotPlain(f"{_said(node)} is not computed, only {ALLOWED}")
        if kind is ast.Mult:
            _check_repeat(left, right)
        elif kind is ast.Pow:
            _check_power(left, right)
        elif not (kind is ast.Add and isinstance(left, str | list | tuple)):
            _check_numbers(left, right)
        return NUMERIC[kind](left, right)

    def _item(self, node: ast.Subscript) -> Any:
        value = self.of(node.value)
        if not isinstance(node.slice, ast.Slice):
            return value[self.of(node.slice)]
        ends = (node.slice.lower, node.slice.upper, node.slice.step)
        return value[slice(*(None if end is None else self.of(end) for end in ends))]

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise NotPlain(f"{_said(node)} is not called, only {', '.join(FUNCTIONS)}")
        return FUNCTIONS[node.func.id](*(self.of(item) for item in node.args))


KINDS: Mapping[type[ast.expr], Callable[[_Evaluation, Any], Any]] = {
    ast.Constant: _Evaluation._constant,
    ast.Name: _Evaluation._name,
    ast.Attribute: _Evaluation._attribute,
    ast.List: _Evaluation._list,
    ast.Tuple: _Evaluation._tuple,
    ast.Dict: _Evaluation._dict,
    ast.IfExp: _Evaluation._choice,
    ast.BoolOp: _Evaluation._truth,
    ast.UnaryOp: _Evaluation._sign,
    ast.Compare: _Evaluation._comparison,
    ast.BinOp: _Evaluation._arithmetic,
    ast.Subscript: _Evaluation._item,
    ast.Call: _Evaluation._call,
}
"""All kinds of parts that have a value."""


def _dotted(node: ast.expr) -> str | None:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _said(node: ast.AST) -> str:
    """A part of an expression as messages show it."""
    return repr(MARKS.sub("@...", ast.unparse(node))[:60])


def _check_numbers(*values: Any) -> None:
    if not all(isinstance(value, int | float) for value in values):
        raise NotPlain(f"it computes with {' and '.join(type(value).__name__ for value in values)}, not with numbers")


def _check_repeat(left: Any, right: Any) -> None:
    """Refuse a product that is neither of numbers nor a short sequence some times."""
    if isinstance(right, Sequence):
        left, right = right, left
    if isinstance(left, Sequence) and isinstance(right, int):
        if max(right, 0) * (_weight(left) + 1) > MOST_VALUES:
            raise NotPlain(f"it must come to at most {MOST_VALUES} values")
        return
    _check_numbers(left, right)


def _check_power(base: Any, exponent: Any) -> None:
    _check_numbers(base, exponent)
    if abs(exponent) > LARGEST_EXPONENT:
        raise NotPlain(f"an exponent must be from -{LARGEST_EXPONENT} to {LARGEST_EXPONENT}, it is {exponent}")


def _rounded(number: Any, digits: Any) -> Any:
    """As `round`, which of a whole number and a thousand million digits would never end."""
    _check_numbers(number, digits)
    if abs(digits) > LARGEST_EXPONENT:
        raise NotPlain(f"it must round to at most {LARGEST_EXPONENT} digits, it says {digits}")
    return round(number, digits) if digits else round(number)


def _weight(value: Any, depth: int = 0) -> int:
    """How many values and characters it has. Raises NotPlain for too many, and for what is no plain data."""
    if depth > DEEPEST:
        raise NotPlain("it is nested too deeply")
    if isinstance(value, str):
        total = len(value)
    elif isinstance(value, list | tuple | Mapping):
        total = 0
        for item in [*value, *value.values()] if isinstance(value, Mapping) else value:
            total += 1 + _weight(item, depth + 1)
            if total > MOST_VALUES:
                break
    elif value is None or isinstance(value, int | float):
        if value is not None and not (math.isfinite(value) and abs(value) < LARGEST_NUMBER):
            raise NotPlain("a number that it comes to must be finite and below 2**63")
        total = 1
    else:
        raise NotPlain(f"it comes to a {type(value).__name__}, which is no plain data")
    if total > MOST_VALUES:
        raise NotPlain(f"it must come to at most {MOST_VALUES} values")
    return total
