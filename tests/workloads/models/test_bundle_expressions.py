"""What the safe evaluator of `$` expressions computes, and that it computes nothing else."""

from __future__ import annotations

import contextlib
import resource
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.workloads.models.bundle_expressions import NotPlain, evaluate, references_only

DATA: dict[str, Any] = {"size": [96, 96, 64], "fast": False, "pixdim": [1.5, 1.5, 2.0], "a::b": 3, "name": "model"}
NUMBERS = st.one_of(st.integers(-9, 9), st.floats(-9, 9, width=16), st.booleans())


def value_of(text: str) -> Any:
    return evaluate(text, DATA.__getitem__)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("len(@size)", 3),
        ("[3.0] * 3 if @fast else @pixdim", [1.5, 1.5, 2.0]),
        ("@a#b + @a::b ** 2", 12),
        ("@name + '.pt'", "model.pt"),
        ("[@size[0] // 2, max(@size), -@size[-1]]", [48, 96, -64]),
        ("@size[:2] + [int(@pixdim[2] * 10), round(2.567, 1)]", [96, 96, 20, 2.6]),
        ("{'k': (1, 2)}['k'][1] if not @fast and 1 < len(@name) <= 5 else None", 2),
        ("monai.utils.CommonKeys.PRED", "pred"),
        ("'@' in 'a' or @fast is None", False),
        ("None", None),
    ],
)
def test_plain_expressions_have_their_value(text: str, value: Any) -> None:
    """Literals, references, arithmetic, comparisons, conditions and indices come out as Python has them."""
    if "'@'" in text:
        with pytest.raises(NotPlain, match="must not hold a reference"):
            value_of(text)
    else:
        assert value_of(text) == value and type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__import__('os').system('true')", "is not called, only len"),
        ("@network_def.to(@device)", "is not called"),
        ("().__class__.__bases__", "is not known"),
        ("torch.cuda.is_available", "is not known"),
        ("os", "the name os is not known"),
        ("lambda x: x", "is not computed"),
        ("[i for i in @size]", "is not computed"),
        ("f'{@size}'", "is not computed"),
        ("(x := 1)", "is not computed"),
        ("print(1)", "is not called"),
        ("len(*@size)", "is not computed"),
        ("max(@size, key=len)", "is not called"),
        ("{**@size}", r"\*\* in a dict"),
        ("9 ** 9 ** 9", "an exponent must be from -64 to 64"),
        ("9999999999999999 * 9999999999999999", "below 2"),
        ("1e308 * 10", "must be finite"),
        ("(-8) ** 0.5", "comes to a complex"),
        ("'a' * 99999999999", "at most 10000 values"),
        ("[[0] * 1000] * 1000", "at most 10000 values"),
        ("'%99999999d' % 1", "computes with str and int"),
        ("round(1, -999999999)", "at most 64 digits"),
        ("1 / 0", "ZeroDivisionError"),
        ("@size[7]", "IndexError"),
        ("int('x')", "no value"),
        ("'$' + 'import os'", "must not begin with"),
        ("{'_target_': ['@' + 'x']}", "must not hold a reference|must not begin with"),
        ("1 +", "no expression of Python"),
        ("import os", "no expression of Python"),
        ("-" * 900 + "1", "nested too deeply"),
        ("(" * 400 + ")" * 400, "no expression of Python"),
        ("(lambda: " + "-" * 800 + "1)", "nested too deeply"),
        ("1" + "+1" * 600, "at most 1000 characters"),
        ("b'x'", "comes to a bytes"),
        ("...", "comes to a ellipsis"),
    ],
)
def test_everything_else_is_refused(text: str, why: str) -> None:
    """Calls, attributes, comprehensions, huge powers, huge repeats and deep nesting are refused with the reason."""
    with pytest.raises(NotPlain, match=why):
        evaluate(text, lambda name: DATA.get(name, 0))


def expressions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", "==", "!=", "and", "or"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("[{}, {}][-1]".format, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("round({})".format, inner),
    )


@given(st.recursive(NUMBERS.map(repr), expressions, max_leaves=8))
@settings(max_examples=150, deadline=None)
def test_values_are_those_of_python(text: str) -> None:
    """Whatever is computed of numbers has the value that Python gives it; what has none there is refused."""
    try:
        wanted = eval(text, {})
    except (ArithmeticError, ValueError):
        wanted = None
    try:
        assert value_of(text) == wanted
    except NotPlain:
        assert wanted is None or abs(wanted) >= 2**63


PIECES = [
    *"()[]{}+-*/%<>=.,:'@#",
    "**",
    "//",
    "<<",
    " if ",
    " else ",
    " for ",
    " in ",
    "len",
    "int",
    "round",
    "9",
    "1e9",
]


@given(st.lists(st.sampled_from([*PIECES, "@size", "__class__", "lambda ", "'a'", "os"]), max_size=30).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_text_ends_soon_with_a_value_or_a_refusal(text: str) -> None:
    """No text takes time or memory, or raises anything but a refusal."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    references_only(text)
    with contextlib.suppress(NotPlain):
        evaluate(text, lambda name: DATA.get(name, 1))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 2 and after.ru_maxrss - before.ru_maxrss < 200_000


def test_a_sum_of_references_is_told_apart() -> None:
    """Lists of transforms may be joined: `$@first + @second` gives both names in order, anything else none."""
    assert references_only("@first") == ["first"]
    assert references_only("@a#x + @b + @c::0") == ["a::x", "b", "c::0"]
    assert (
        references_only("@a + [1]") is None and references_only("@a - @b") is None and references_only("len(") is None
    )
