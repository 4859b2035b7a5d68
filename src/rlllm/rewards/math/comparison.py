"""Exact comparison of a reference with an answer: numbers, words, options, ratios, bases, lists of texts, and mathematics.

Every verdict is certain, or it is None and math-verify decides. Both sides are brought into one spelling first.
"""

from __future__ import annotations

import re

from rlllm.parsing.answer_text import without_text_macros
from rlllm.parsing.numbers import read_number
from rlllm.rewards.math.canonical import canonical, split, squeezed
from rlllm.rewards.math.structures import compare, equal_numbers


def equal_answers(reference: str, answer: str, *, same_base: bool = False) -> bool | None:
    """Whether an answer equals a reference; None where only a computer algebra system can tell.

    Args:
        reference, answer: each as it stands inside its marker.
        same_base: the question is about bases of numbers, so that 110_2 must not be answered by 6.
    """
    if "=" not in reference and "=" not in answer:
        numbers = read_number(reference), read_number(answer)
        if numbers[0] and numbers[1]:
            return equal_numbers(numbers[0], numbers[1])
    reference, answer = canonical(reference), canonical(answer)
    if squeezed(reference) == squeezed(answer):
        return True
    for shortcut in (_compare_text_lists, _compare_words, _compare_options, _compare_ratios):
        verdict = shortcut(reference, answer)
        if verdict is not None:
            return verdict
    based = _compare_bases(reference, answer, same_base)
    return compare(reference, answer) if based is None else based


_QUOTED = re.compile(r"""(["'])(?P<text>[^"']*)\1""")
_QUOTED_ENTRY = re.compile(r"""[\[,]\s*["']""")
_ENTRY_COMMA = re.compile(",")


def _compare_text_lists(reference: str, answer: str) -> bool | None:
    """`["a", "b"]` as a list of texts, entry by entry. Only another list equals it: `["a"]` is not a."""
    if not (_is_text_list(reference) or _is_text_list(answer)):
        return None
    return _same_entries(_entries(reference), _entries(answer))


def _is_text_list(text: str) -> bool:
    return text[:1] == "[" and text[-1:] == "]" and _QUOTED_ENTRY.search(text) is not None


_Entry = str | list["_Entry"]


def _entries(text: str) -> _Entry:
    """A text in brackets as its entries without quotation marks, lists inside it too; any other text is itself."""
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]":
        return [_entries(part) for part in split(text[1:-1], _ENTRY_COMMA)]
    quoted = _QUOTED.fullmatch(text)
    return quoted["text"] if quoted else text


def _same_entries(reference: _Entry, answer: _Entry) -> bool:
    if isinstance(reference, list) and isinstance(answer, list):
        return len(reference) == len(answer) and all(map(_same_entries, reference, answer))
    if isinstance(reference, list) or isinstance(answer, list):
        return False
    return reference.split() == answer.split() or equal_answers(reference, answer) is True


_WORDS = re.compile(r"[^\W\d_]+(?:[ '-]+[^\W\d_]+)*[.]?")
_NAMES = frozenset(("pi", "infty", "inf", "infinity", "oo", "max", "min", "gcd", "lcm"))
_VOWEL = re.compile(r"[aeiouAEIOU]|[A-Z]|[^\x00-\x7f]")
_ARTICLE = re.compile(r"\A(?:the|a|an) (?=\w)")


def words_of(text: str) -> str | None:
    """A text of words in one spelling, in lower case; None of anything else.

    Two or more letters are words unless they read as a product of variables: in lower case and without a vowel (xy, kn).
    """
    plain = " ".join(without_text_macros(text.replace("\\ ", " ")).replace("~", " ").split()).strip("\"'")
    if len(plain) < 2 or not _WORDS.fullmatch(plain) or plain.lower() in _NAMES:
        return None
    if all(len(word) == 1 and word.isascii() for word in plain.split()) or not _VOWEL.search(plain):
        return None
    return _ARTICLE.sub("", plain.rstrip(".").casefold().replace("-", " "))


def _compare_words(reference: str, answer: str) -> bool | None:
    """A reference that is words is right as these words alone, behind an option's label or not."""
    expected = words_of(reference)
    if expected is None:
        return None
    given = words_of(answer) or words_of(_option(answer)[1])
    return given is not None and given.replace(" ", "") == expected.replace(" ", "")


_OPTION = re.compile(
    r"(?:(?:\\text\{)?\(\s*(?P<round>[A-Ja-j])\s*\)\s*\}?|(?P<plain>[A-J])\s*(?:[.:](?=\s)|\)))\s*(?P<body>.*)"
)
_LONE_OPTION = re.compile(r"(?:\\text\{)?\(?\s*(?:option|choice)?\s*(?P<label>[A-J])\s*\)?\}?[.:]?", re.IGNORECASE)


def _option(text: str) -> tuple[str, str]:
    """(label, body) of `(B) 12` or `B. Paris`; no label where there is none."""
    plain = text.replace("\\ ", " ")
    lone = _LONE_OPTION.fullmatch(plain)
    if lone and lone["label"].isupper():
        return lone["label"], ""
    match = _OPTION.fullmatch(plain)
    if match is None or not match["body"].strip() or match["body"].lstrip()[0] in "=^_+*/-":
        return "", text
    return (match["round"] or match["plain"]).upper(), match["body"].strip()


def _compare_options(reference: str, answer: str) -> bool | None:
    """Answers that begin with the label of an option: by their labels, or else by what stands behind it."""
    (label, body), (given_label, given_body) = _option(reference), _option(answer)
    if label and given_label:
        if label != given_label or not body or not given_body:
            return label == given_label
        return _same_body(body, given_body)
    if label and body:
        return _same_body(body, answer)
    if given_label and given_body:
        return _same_body(reference, given_body)
    if label and words_of(answer) is not None:
        return False
    return None


def _same_body(reference: str, answer: str) -> bool | None:
    return equal_answers(reference, answer) or False


_TIME = re.compile(
    r"(?P<hours>\d{1,2})\s*:\s*(?P<minutes>[0-5]\d)(?:\s*:\s*(?P<seconds>[0-5]\d))?\s*(?P<half>[ap]\.?\s*m\.?)?",
    re.IGNORECASE,
)
_RATIO = re.compile(r"-?[\d./]+(?:\s*:\s*-?[\d./]+)+")


def _compare_ratios(reference: str, answer: str) -> bool | None:
    """`3:4` as a ratio, `10:30` as a time of day."""
    texts = [without_text_macros(text).strip() for text in (reference, answer)]
    times = [_TIME.fullmatch(text) for text in texts]
    if times[0] or times[1]:
        clock = [
            match and (int(match["hours"]), match["minutes"], match["seconds"] or "00", _half(match)) for match in times
        ]
        return clock[0] == clock[1]
    if not (_RATIO.fullmatch(texts[0]) or _RATIO.fullmatch(texts[1])):
        return None
    parts = [[read_number(part) for part in text.split(":")] for text in texts]
    if any(part is None or not part.value for side in parts for part in side):
        return None
    values = [[part.value for part in side if part] for side in parts]
    if min(map(len, values)) == 1 and max(map(len, values)) == 2:
        return len({side[0] / side[1] if len(side) == 2 else side[0] for side in values}) == 1
    return len(values[0]) == len(values[1]) and len({a / b for a, b in zip(*values, strict=True)}) == 1


def _half(match: re.Match[str]) -> str:
    return (match["half"] or "").lower()[:1]


_BASED = re.compile(
    r"(?P<digits>[0-9A-Fa-f]+(?:\s[0-9]{3})*)\s*(?:_\s*\{?\s*(?:\\text\{)?\s*(?P<base>\d{1,2}|[a-z]+)\s*\}?\}?"
    r"|\(?\s*(?:in )?base (?P<word>\d{1,2}|[a-z]+)\s*\)?)"
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
          "twelve": 12, "sixteen": 16}  # fmt: skip


def _based(text: str) -> tuple[int, int] | None:
    """(value, base) of `204_5`, `204_{\\text{five}}`, "204 base 5"; None of anything else."""
    match = _BASED.fullmatch(text.replace("\\text{ base ", "base ").replace("{ten}", "{10}").strip())
    if match is None:
        return None
    written = match["base"] or match["word"]
    base = int(written) if written.isdigit() else _BASES.get(written, 0)
    if not match["digits"][0].isdigit() and (len(match["digits"]) == 1 or base <= 10):  # A_1 and AB_3 are names
        return None
    try:
        return (int(match["digits"].replace(" ", ""), base), base) if 2 <= base <= 36 else None
    except ValueError:
        return None


def _compare_bases(reference: str, answer: str, same_base: bool) -> bool | None:
    first, second = _based(reference), _based(answer)
    if first is None and second is None:
        return None
    sides = [first or _integer(reference), second or _integer(answer)]
    if sides[0] is None or sides[1] is None:
        return None if _based_looking(reference) or _based_looking(answer) else False
    return sides[0] == sides[1] if same_base else sides[0][0] == sides[1][0]


def _based_looking(text: str) -> bool:
    return "_" in text and _based(text) is None


def _integer(text: str) -> tuple[int, int] | None:
    number = read_number(text)
    return (int(number.value), 10) if number and number.value.denominator == 1 and number.unit.empty else None
