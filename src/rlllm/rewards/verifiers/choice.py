"""The `choice` reward: the completion commits to the right option of a multiple-choice question, and to no other.

An option is named by its label or its whole text. These are read, in this order: the marked answers, which must agree; the last
statement ("the answer is ...", "option B is correct", "I choose B", the same in other languages, `{"answer": "B"}`); a
completion that is nothing but an option.
"""

from __future__ import annotations

import ast
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from rlllm.core.errors import unknown
from rlllm.core.records import Sample, Score
from rlllm.parsing.answer_text import plain_answer, plain_characters
from rlllm.parsing.answers import marked_answers
from rlllm.rewards.verifiers.exact import NO_REFERENCE, reference_answers
from rlllm.rewards.verifiers.submissions import final_part

_Options = Mapping[str, str]
"""Label (upper case) to text, in the order of the row."""

_COLUMNS = ("choices", "options")
_STATED = re.compile(
    r"(?:\b(?:answer|(?:correct|right|best)\s+(?:choice|option))(?:\s+(?:choice|option))?(?:\s+(?:to|for)\s[^.:\n]{1,80}?)?"
    r"(?:\s+(?:is|(?:would|must|should)\s+be))?[ \t*_]*(?:(?<=\bis)|(?<=\bbe)|:|=)[ \t*_]*:?\s*"
    r"|(?:\A|\n)[\s#*_]*(?:the\s+)?(?:(?:final|correct)\s+)?answer[ \t*_]*\n\s*"
    r"|\b(?:I|we)\s*(?:'d|'ll|would|will|shall)?\s*(?:choose|pick|select|go\s+with|go\s+for|opt\s+for|say)\s+"
    r"|\bmy\s+(?:choice|pick|selection)\s+is\s+"
    r"|(?:\A|\n|[.!]\s)\s*(?:so|thus|hence|therefore)\s*[,:]\s*(?=[*_$(]{0,4}[A-Z]\b[^\w\n?]{0,6}\Z)"
    r"|\"(?:final_|correct_)?(?:answer|choice|option)(?:_choice|_label)?\"\s*:\s*\"?"
    r"|(?<![\u4e0d\u522b\u52ff\u672a])(?:(?:\u6b63\u786e)?(?:\u7b54\u6848|\u9009\u9879)\s*(?:\u5e94\u8be5|\u5e94)?[\u662f\u4e3a:]"
    r"|(?:\u6545|\u5e94|\u5e94\u8be5)?(?:\u9009\u62e9|\u9009)(?!\u9879))\s*:?\s*(?:\u9009\u9879)?\s*"
    r"|(?:\u7b54\u3048|\u6b63\u89e3)\s*[\u306f:]\s*|(?:\uc815\ub2f5|\ub2f5)\s*(?:\uc740|:)\s*"
    r"|\b(?:r\u00e9ponse|antwort|respuesta|resposta|risposta|\u043e\u0442\u0432\u0435\u0442)(?:\s+\w{1,12})?\s*"
    r"(?:\best\b|\bist\b|\blautet\b|\bes\b|\u00e9\b|\u00e8\b|:|\u2014|-)\s*:?\s*)"
    r"(?:the\s+)?(?:(?:option|choice|answer|letter)\b)?\s*(?=(?P<rest>[^\n]{0,400}))",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"(?<![\w'-])(?P<named>(?:(?:option|choice|answer)\s{1,3})?[*_$]{0,3}\(?[^\W_]{1,3}\)?[*_$]{0,3})\s{1,3}"
    r"(?:is|would\s+be|must\s+be)\s+(?:clearly\s+|definitely\s+|therefore\s+|thus\s+)?(?:the\s+)?"
    r"(?:(?:correct|right|best|true)(?:\s+(?:answer|option|choice|one))?|answer)(?![\w'-])(?=(?P<after>[^.!?\n]{0,120}[?]?))"
    r"|(?<![A-Za-z])(?P<label>[A-Za-z])\s{0,2}(?:\u9009\u9879|\u9879)?\s{0,2}(?:\u662f)?\u6b63\u786e",
    re.IGNORECASE,
)
"""A statement with the option in front: "option B is correct"."""
_UNSURE = re.compile(
    r"\b(?:not|never|neither|nor|no|if|whether|unless|only|both|also|either|could|might|may|maybe|perhaps|possibly|think(?:ing)?\s+that"
    r"|thought|or|and|but|however|would|seems?|assume|suppose|says?|claims?)\b|n't\b|\?",
    re.IGNORECASE,
)
_LETTERS = r"\(?[A-Z]\)?(?:\s*(?:,\s*(?:and\s+)?|\band\s+|\bor\s+)\(?[A-Z]\)?)*"
_DISMISSED = re.compile(
    rf"(?:\s*[,;:])?\s*(?:\b(?:and|but|while|whereas|so)\s+)?(?:\b[Oo]ptions?\s+|\b[Cc]hoices?\s+|\b[Aa]nswers?\s+)?"
    rf"(?P<letters>(?<!\w){_LETTERS})\s+(?:is|are|was|were)\s+(?:all\s+|both\s+|clearly\s+)?"
    r"(?:wrong|incorrect|false|not\s+(?:correct|right|true))\b"
)
"""A clause that says that other options are wrong."""
_REASON = re.compile(r"[\s,;:(-]+(?:because|since|as|given\s+that|due\s+to|while|whereas|unlike)\s", re.IGNORECASE)
_PREDICATE = (
    r"(?:\u3067\u3059(?!\u304b)|\u3067\u3042\u308b|\u3068\u306a\u308a\u307e\u3059|\u306b\u306a\u308a\u307e\u3059|\uc785\ub2c8\ub2e4|\uc774\ub2e4"
    r"|\uc608\uc694|\uc774\uc5d0\uc694|\u56e0\u4e3a|\u9009\u9879|\u9879)"
)
"""What follows a label without a blank in Japanese, Korean and Chinese: "is", "because", "option"."""
_TAKEN_BACK = re.compile(
    r"\s*(?:\u4e0d|\u662f\u9519|\u9519|\u6216|\u548c|\u4e0e|\u53ca)|\s*(?:,|;)?\s*(?:n'est|nicht|no es|oder|ou|o|e|y|und)\b",
    re.IGNORECASE,
)
_LABELS: Mapping[str, Callable[[int], str]] = {"letters": lambda i: ascii_uppercase[i], "numbers": lambda i: str(i + 1)}
_GOES_ON = re.compile(r"\w|[.,'\u2019-]\w|[%/^+=]|\s+[-+*/^=]\s")
"""What makes a longer word, number or formula of the text before it."""
_LAST_STATEMENTS = 20
"""Statements that are looked at: a text may repeat one thousands of times."""
_BEFORE, _AFTER = " \t\n\r*_$([{", " \t\n\r*_$)]}.,;:!"
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_LABELLED = re.compile(r"\s*[*_$(\[]*\s*(?P<label>[^\W_]{1,3})\s*[*_$]*[)\].:,]+[*_$]*\s+(?P<text>.+)", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """1 if the completion commits to the right option, else 0; None where the row does not say what is right.

    The row's `choices` or `options` hold a list of texts, a mapping from label to text, `{"label": [...], "text": [...]}`, or
    one of these as JSON text; texts may carry their own labels ("B. London").
    Labels are matched without regard to case where they stand alone, texts without regard to case and blanks.

    Args:
        labels: how options of a list are labelled in the prompt: `letters` (A, B, ...) or `numbers` (1, 2, ...).
        reference: what the row's answer is: `label`, `index` (from 0), `text`, or `auto`, which gives None where two of
            these readings name different options.
    """

    labels: str = "letters"
    reference: str = "auto"
    verifies = True
    needs_answer = True

    def __post_init__(self) -> None:
        if self.labels not in _LABELS:
            raise unknown("labels of the reward choice", self.labels, _LABELS)
        if self.reference not in ("auto", *_READINGS):
            raise unknown("reference of the reward choice", self.reference, ("auto", *_READINGS))

    def __call__(self, sample: Sample) -> Score:
        column = next((name for name in _COLUMNS if sample.meta.get(name)), None)
        options = read_options(sample.meta[column], self.labels) if column else None
        if options is None:
            return Score(None, note=f"the row has no readable {' or '.join(_COLUMNS)}")
        references = reference_answers(sample)
        if not references:
            return Score(None, note=NO_REFERENCE)
        named = [self._right(reference, options) for reference in references]
        unclear = next((pair for pair in zip(references, named, strict=True) if len(pair[1]) != 1), None)
        if unclear is not None:
            readings = ", ".join(sorted(unclear[1])) or "none"
            return Score(
                None, note=f"the reference {unclear[0][:80]!r} names these options: {readings}; set `reference`"
            )
        chosen, fault = _chosen_option(sample.completion, options)
        if chosen is None:
            return Score(0.0, note=fault)
        right = {_plain(options[label]) for labels in named for label in labels}
        return Score(
            float(any(chosen in labels for labels in named) or _plain(options[chosen]) in right), parsed=chosen
        )

    def _right(self, reference: str, options: _Options) -> set[str]:
        kinds = _READINGS if self.reference == "auto" else (self.reference,)
        plain = plain_answer(reference)
        labels = {label for kind in kinds if (label := _READINGS[kind](plain, options)) is not None}
        both = _named_option(plain, options) if not labels and self.reference == "auto" else None
        return labels or ({both} if both else set())


def read_options(column: Any, labels: str = "letters") -> dict[str, str] | None:
    """The options of a row by label; None where the column is none of the known forms, or labels come twice."""
    if isinstance(column, str):
        column = _parsed(column)
    if isinstance(column, Mapping) and isinstance(column.get("text"), Sequence) and "label" in column:
        pairs = list(zip(column["label"] or (), column["text"], strict=False))
    elif isinstance(column, Mapping):
        pairs = list(column.items())
    elif isinstance(column, Sequence) and not isinstance(column, str) and len(column) <= len(ascii_uppercase):
        pairs = _own_labels(column) or [(_LABELS[labels](index), text) for index, text in enumerate(column)]
    else:
        return None
    options = {str(label).strip().upper(): str(text) for label, text in pairs if text is not None}
    return options if len(options) >= 2 and len(options) == len([p for p in pairs if p[1] is not None]) else None


def _parsed(text: str) -> Any:
    """The value of options written as JSON, or as Python prints a list or a mapping; None of other text."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list | tuple | dict) else None
    return None


_OWN_LABEL = re.compile(r"\s*\(?(?P<label>[A-Za-z]|\d{1,2})\s*[).:]\s*(?P<text>.*\S)\s*", re.DOTALL)


def _own_labels(texts: Sequence[Any]) -> list[tuple[str, str]] | None:
    """(label, text) of texts that all begin with their own label, in order from A or 1; None of other texts."""
    matches = [_OWN_LABEL.fullmatch(text) if isinstance(text, str) else None for text in texts]
    pairs = [(match["label"].upper(), match["text"]) for match in matches if match]
    for numbering in _LABELS.values():
        if len(pairs) == len(texts) >= 2 and [label for label, _ in pairs] == [numbering(i) for i in range(len(pairs))]:
            return pairs
    return None


def _chosen_option(completion: str, options: _Options) -> tuple[str | None, str | None]:
    """(label, None) of the one option that `completion` commits to, or (None, why there is none)."""
    text = plain_characters(final_part(completion))
    marked = {_named_option(mark.answer, options) for mark in marked_answers(text)}
    if len(marked) > 1:
        return None, "several different answers are marked"
    if marked:
        label = marked.pop()
        return label, None if label else "the marked answer is not one option"
    stated = _statements(text, options)
    if stated:
        different = {label for label in stated if label is not None}
        if len(different) > 2 or len(different) == len(options) > 2:
            return None, f"{len(different)} options are stated as the answer"
        return stated[-1], None if stated[-1] else "the stated answer is not one option"
    label = _named_option(text, options)
    return label, None if label else "no answer is marked or stated"


def _statements(text: str, options: _Options) -> list[str | None]:
    """The options that the last statements of a text name, in order; None for one that names no single option."""
    endings = deque(((match.start(), match["rest"]) for match in _STATED.finditer(text)), maxlen=_LAST_STATEMENTS)
    subjects = deque(_SUBJECT.finditer(text), maxlen=_LAST_STATEMENTS)
    placed = [(start, _stated_option(rest, options)) for start, rest in endings]
    placed += [(match.start(), _subject_option(match, options)) for match in subjects if _is_subject(match, options)]
    return [label for _, label in sorted(placed, key=lambda statement: statement[0])]


def _is_subject(match: re.Match[str], options: _Options) -> bool:
    """Whether what stands in front of "is correct" is meant as a label: upper case, in brackets, or called an option."""
    named = match["label"] or match["named"]
    label = re.sub(r"(?i)^(?:option|choice|answer)\s+", "", named).strip("*_$() ")
    return label.upper() in options and (label == label.upper() or label != named.strip("*_$ "))


def _subject_option(match: re.Match[str], options: _Options) -> str | None:
    if match["label"]:
        return match["label"].upper()
    label = re.sub(r"(?i)^(?:option|choice|answer)\s+", "", match["named"]).strip("*_$() ").upper()
    before = re.split(r"[.!?\n]", match.string[max(0, match.start() - 120) : match.start()])[-1]
    before, after = _without_dismissed(before, label), _without_dismissed(match["after"], label)
    after = _REASON.split(after, maxsplit=1)[0]
    if _DISMISSED.search(after) or _UNSURE.search(before) or _UNSURE.search(after):
        return None
    return None if _others_named(after, label, options) else label


def _without_dismissed(text: str, own: str) -> str:
    """A text without its clauses that say that other options than `own` are wrong."""
    return _DISMISSED.sub(lambda match: match[0] if own in re.findall(r"[A-Z]", match["letters"]) else "", text)


def _named_option(text: str, options: _Options) -> str | None:
    """The label of the option that `text` is: a label, an option's text, or a label with its own text."""
    plain = _LATEX_TEXT.sub(r"\1", plain_answer(text)).strip()
    for form in (text.strip(), plain, re.sub(r"(?i)^(?:option|choice|answer|select|choose|pick)\s+(?=\S)", "", plain)):
        label = _by_text(form, options) or _by_label(form, options)
        if label is None and (both := _LABELLED.fullmatch(form)):
            label = both["label"].upper()
            label = label if label in options and _by_text(both["text"], {label: options[label]}) else None
        if label is not None:
            return label
    return None


def _stated_option(rest: str, options: _Options) -> str | None:
    """The option a sentence commits to behind "the answer is": at its beginning, and no other one in the sentence."""
    if label := _named_option(rest, options):
        return label
    sentence = re.split(r"[.;!?](?:[\s*_)\]]|$)|\"", rest, maxsplit=1)[0]
    label = _named_option(sentence, options) or _committed(sentence, options)
    return None if label and _lists_others(rest[len(sentence) :], label, options) else label


def _committed(sentence: str, options: _Options) -> str | None:
    """The option at the beginning of a sentence, unless it names another one or takes it back."""
    first = _leading_label(sentence, options) or _leading_text(sentence, options)
    if first is None or re.match(r"[\s*_()]*(?:not|neither|nor|or|and)\b", sentence[len(first[1]) :], re.IGNORECASE):
        return None
    rest = sentence[len(first[1]) :]
    if _TAKEN_BACK.match(rest):
        return None
    rest = _REASON.split(_without_dismissed(rest, first[0]), maxsplit=1)[0]
    return None if _DISMISSED.search(rest) or _others_named(rest, first[0], options) else first[0]


def _lists_others(text: str, own: str, options: _Options) -> bool:
    """Whether what follows the sentence is nothing but options, and not only the same one."""
    pieces = [piece for piece in re.split(r"[\s.;,!?|/&]+", text) if piece]
    named = [_named_option(piece, options) for piece in pieces]
    return bool(named) and None not in named and set(named) != {own}


def _leading_label(sentence: str, options: _Options) -> tuple[str, str] | None:
    """(label, the text read) of an upper-case or bracketed label at the beginning."""
    match = re.match(
        rf"[\s*_$]*(?:\(\s*([^\W_]{{1,3}})\s*\)|([A-Z\d]{{1,3}})(?={_PREDICATE})"
        r"|([^\W_]{1,3})(?![\w'\u2019-]))[*_$)\]]*",
        sentence,
    )
    label = (match[1] or match[2] or match[3]) if match else ""
    if match is None or label.upper() not in options or (match[3] and label != label.upper()):
        return None
    return label.upper(), match[0]


def _leading_text(sentence: str, options: _Options) -> tuple[str, str] | None:
    """(label, the text read) of the longest option text at the beginning."""
    stripped = sentence.lstrip(" \t*_\"'")
    offset = len(sentence) - len(stripped)
    for label, text in sorted(options.items(), key=lambda pair: -len(pair[1])):
        if text and stripped[: len(text)].casefold() == text.casefold() and not _GOES_ON.match(stripped, len(text)):
            return label, sentence[: offset + len(text)]
    return None


def _others_named(rest: str, own: str, options: _Options) -> bool:
    """Whether a sentence goes on to name another option by its label or text."""
    text_of = _by_text(rest.lstrip(" ).:]"), options)
    if text_of and _plain(options[text_of]) != _plain(options[own]):
        return True
    following = f" {_words(rest)} "
    for label, text in options.items():
        words = _words(text)
        if label == own or words == _words(options[own]):
            continue
        if re.search(rf"(?<![\w']){re.escape(label)}(?![\w'])", rest):
            return True
        if len(words) > 1 and f" {words} " in following and words not in _words(options[own]):
            return True
    return False


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _bare(text: str) -> str:
    return text.lstrip(_BEFORE).rstrip(_AFTER)


def _plain(text: str) -> str:
    return " ".join(_bare(text).casefold().split())


def _by_text(text: str, options: _Options) -> str | None:
    return next((label for label, option in options.items() if _plain(option) and _plain(text) == _plain(option)), None)


def _by_label(text: str, options: _Options) -> str | None:
    label = _bare(text).upper()
    return label if label in options else None


def _by_index(text: str, options: _Options) -> str | None:
    digits = text.strip()
    is_index = digits.isascii() and digits.isdigit() and len(digits) < 3 and int(digits) < len(options)
    return list(options)[int(digits)] if is_index else None


_READINGS: Mapping[str, Callable[[str, _Options], str | None]] = {
    "label": _by_label,
    "index": _by_index,
    "text": _by_text,
}
