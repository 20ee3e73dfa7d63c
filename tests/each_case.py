"""A decorator that makes one test of many cases of one property."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest


def each_case(names: str | Sequence[str], values: Iterable[Any]) -> Callable[[Callable], Callable]:
    """Call the test once per case, within one test. It is used as `pytest.mark.parametrize` is, and stacks as it does.

    Use it where many cases show one property: collecting thousands of tests takes longer than running them. A failure
    shows the case by its number and values. Cases after it are not run. The test is skipped if all of its cases are.

    Args:
        names: of the test's arguments that a case gives, as a list or separated by commas.
        values: one value per case, or with several names one tuple per case. `pytest.param(..., id=...)` names a case.
    """
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    single = isinstance(names, str) and len(arguments) == 1
    cases = [_case(value, single=single) for value in values]
    assert cases, f"no cases of {names}"
    assert all(len(values) == len(arguments) for _, values in cases), f"a case of {names} has another number of values"

    def decorate(test: Callable) -> Callable:
        @wraps(test)
        def all_cases(**fixtures: Any) -> None:
            skipped = []
            for number, (label, values) in enumerate(cases, start=1):
                case = dict(zip(arguments, values, strict=True))
                try:
                    test(**fixtures, **case)
                except pytest.skip.Exception as skip:
                    skipped.append(skip)
                except (Exception, pytest.fail.Exception) as error:
                    shown = ", ".join(f"{name}={value!r}" for name, value in case.items())
                    error.add_note(f"in case {number} of {len(cases)}{label}: {shown}")
                    raise
            if len(skipped) == len(cases):
                raise skipped[-1]

        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        assert len(fixtures) == len(signature.parameters) - len(arguments), f"{test.__name__} does not take {names}"
        all_cases.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return all_cases

    return decorate


def _case(value: Any, *, single: bool) -> tuple[str, tuple]:
    """Return what to show of a case beside its values, and these."""
    if isinstance(value, type(pytest.param())):
        return (f" ({value.id})" if value.id else ""), tuple(value.values)
    return "", (value,) if single else tuple(value)
