# SPDX-License-Identifier: MIT
"""What an answer is, and whether it is right, without telling which one is.

An exercise has a kind, which says what form an answer has; `normal()` brings an answer into that form
or says in one line what is expected.  A key is a slow hash of a right answer in its normal form: who
has only the keys (a student's release) can tell right from wrong and from a known mistake, no more.
"""

import hashlib
import json
from typing import Any, Iterable, List

VARIANTS = 16
ROUNDS = 20_000

KINDS = {
    "number": "a whole number",
    "name": "one name, as text",
    "yes": "True or False",
    "names": "a list, in order",
    "set": "a list or set, in any order",
    "table": 'a dictionary: {"name": value, ...}',
}


class AnswerError(Exception):
    """An answer that has not the form its exercise asks for."""


def is_missing(answer: Any) -> bool:
    """Whether the dots are still there."""
    return answer is ... or answer is None


def _plain(value: Any) -> Any:
    """Numbers of numpy, Series, tuples and the like as JSON has them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return int(value) if float(value).is_integer() else float(value)
    if isinstance(value, str):
        return value.strip().removesuffix("()")
    if isinstance(value, dict):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return _sorted(_plain(v) for v in value)
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    raise AnswerError(f"a {type(value).__name__} is no answer")


def _sorted(values: Iterable[Any]) -> List[Any]:
    return sorted(values, key=lambda v: json.dumps(v, sort_keys=True))


def normal(kind: str, answer: Any) -> Any:
    """An answer as it is stored and compared; AnswerError if it has not the form of its kind."""
    try:
        value = _plain(answer)
    except (ValueError, OverflowError, RecursionError) as error:
        raise AnswerError("that is no answer") from error
    fine = {
        "number": isinstance(value, int) and not isinstance(value, bool),
        "name": isinstance(value, str),
        "yes": isinstance(value, bool),
        "names": isinstance(value, list),
        "set": isinstance(value, list),
        "table": isinstance(value, dict),
    }[kind]
    if not fine:
        raise AnswerError(f"expected {KINDS[kind]}")
    if kind == "set":
        return _sorted({json.dumps(v, sort_keys=True): v for v in value}.values())
    return value


def key(exercise: str, variant: int, kind: str, value: Any) -> str:
    """The key of a normal answer to this exercise, for this variant."""
    text = json.dumps([kind, value], sort_keys=True).encode()
    salt = f"looplabs {exercise} {variant}".encode()
    return hashlib.pbkdf2_hmac("sha256", text, salt, ROUNDS)[:12].hex()


def variant_of(student: str) -> int:
    """Which of the variants a student has."""
    digest = hashlib.sha256(student.strip().lower().encode()).digest()
    return int.from_bytes(digest[:4], "big") % VARIANTS
