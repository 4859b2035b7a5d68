r"""Which answer a completion gives to a mathematical question, marked or stated, and what in it makes an answer none.

Whoever lists every candidate has not answered. Text before the last `</think>` is working and gives no answer. Without a
marker a text answers only where a sentence commits: "the answer is 5", "so x = 5", or a last line that is nothing but an
answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlllm.parsing.answer_text import plain_answer, plain_characters, without_text_macros
from rlllm.parsing.answers import marked_answers


@dataclass(frozen=True, slots=True)
class Answer:
    """What a completion answers; several marked answers that differ are one list. No texts: it answers nothing."""

    texts: tuple[str, ...]
    marked: bool

    @property
    def text(self) -> str:
        return ", ".join(self.texts)


def read_answer(completion: str, *, marked: bool = False) -> Answer:
    """The final answer; see `parsing.answers` for the markers.

    Args:
        completion: the whole text.
        marked: only a marked answer counts.
    """
    text = completion.rpartition("</think>")[2]
    text = text if text.strip() else completion
    marks = [mark.answer for mark in marked_answers(text)]
    if marks:
        marks = (
            list({"".join(plain_answer(mark).split()): mark for mark in marks}.values()) if len(marks) > 1 else marks
        )
        return Answer(tuple(marks), marked=True)
    stated = None if marked else stated_answer(text)
    return Answer((stated,) if stated else (), marked=False)


_LONGEST_ENDING = 2000
"""Characters at the end of an unmarked text that are searched for a statement."""
_LONGEST_STATEMENT = 200
_LONGEST_BARE = 40
"""A text of a few words that says nothing else is the answer itself."""
_SENTENCE_END = re.compile(r"(?<=[!?\u3002])\s*|(?<!\bapprox)(?<!\b[a-zA-Z])\.(?=\s|\Z|[*_]+(?:\s|\Z))[*_]*|\n+")
_DISPLAY = re.compile(r"\s*(\$\$.*?\$\$|\\\[.*?\\\])\s*", re.DOTALL)
_DELIMITER = re.compile(r"\\[\[\]()]|\$\$")
_STATEMENT = re.compile(
    r"\b(?:final\s+|correct\s+|right\s+|exact\s+)?(?:answers?|ans|results?|solutions?|(?<=correct )option|(?<=correct )choice)"
    r"\s*(?:\([^()]{1,40}\)\s*)?(?:(?:to|of|for)\s[^.:=\n]{1,80}?\s*)?"
    r"[*_]*\s*(?:(?:is|are|equals|would\s+be|must\s+be|should\s+be|comes\s+to|was)(?![a-zA-Z'])(?:\s+(?:equal\s+to|simply|just|therefore|thus|then|given\s+by))?\s*:?"
    r"|[:=])[*_]*\s*(?P<rest>.+)"
    r"|(?:\u7b54\u6848|\u7b54)\s*(?:[\u662f\u4e3a:]|\u5e94\u4e3a)\s*:?\s*(?P<cjk>.+)",
    re.IGNORECASE | re.DOTALL,
)
_COPULA = re.compile(
    r".*(?:\b(?:is|are|equals|equal\s+to|be|gives|gave|get|gets|obtain|obtains|have|yields|totals|makes)\b(?:\s+(?:exactly|equal\s+to|just))?:?|(?<![<>!=])=(?!=)|:)\s*(?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)
_CONCLUSION = re.compile(
    r"(?:so|thus|hence|therefore|finally|in\s+total|altogether|overall|in\s+conclusion|\\therefore)\b", re.IGNORECASE
)
_VALUE_ONLY = re.compile(r"[-+]?\\?[$\u20ac\u00a3]?\d[\d,. ]*(?:\\?%|\s*[a-zA-Z]{1,12})?")
_HEADING = re.compile(
    r"[#*_\s]*(?:the\s+)?(?:final|correct)?\s*(?:answer|result|solution)\s*(?:[*_]+|(?=\$|\\[\[(]))\s*(?=\S)",
    re.IGNORECASE,
)
"""The heading of an answer without a colon: "**Final Answer** $$7$$"."""
_CONCLUDED_NUMBER = re.compile(r"(?<![\w.\\^_{])[-+]?\\?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?(?![\d^_/*+=])")
_UNCERTAIN = re.compile(
    r"\b(?:not|never|no|nor|neither|none|cannot|if|whether|unless|maybe|perhaps|possibly|probably|wrong|incorrect|mistaken|mistake|false"
    r"|impossible|doubt|unsure|unclear|guess|either|or|unknown|undetermined|could|might|may|would|anything|except|but|however|actually"
    r"|wait|hmm|suppose|assume|assuming|doesn't|least|most|more\s+than|less\s+than|greater|fewer|between|almost|nearly|over|under|options|choices|one\s+of)\b"
    r"|n't\b|n\u2019t\b|\?|\u4e0d|\u9519",
    re.IGNORECASE,
)
_CORRECTED = re.compile(r"(?:(?:oh|ah|wait|hmm|sorry)[,. ]+)*no[,:;]\s*", re.IGNORECASE)
_TAIL = re.compile(
    r"(?:[,;]?\s+(?:because|since|as|where|which|when|for|so|using|by|from|after|given)\s|\s*[,;]\s+(?=[a-z]{2,})(?!and\b|or\b)|\s+[\u2014\u2013]\s+|\s+--+\s+).*",
    re.IGNORECASE | re.DOTALL,
)


def stated_answer(text: str) -> str | None:
    """What an unmarked text commits to; None where it commits to nothing, takes it back, or negates it."""
    ending = plain_characters(text)[-_LONGEST_ENDING:]
    if "<think>" in text and "</think>" not in text:
        return None
    if re.search(r"\\(?:boxed|fbox)(?![a-zA-Z])|<answer>|(?<!#)####(?!#)", ending, re.IGNORECASE):
        return None  # a marker that is not closed, or holds nothing
    sentences = _sentences(ending)
    for index in range(len(sentences) - 1, -1, -1):
        match = _STATEMENT.search(sentences[index])
        if match is None:
            continue
        rest = match["rest"] or match["cjk"]
        later = " ".join(sentences[index + 1 :])
        if _contradicted(rest, sentences[:index]):
            return None
        if sentences[index].rstrip().endswith("?") or _RETRACTED.search(later):
            break
        return _committed(sentences[index][: match.start()], rest)
    if not sentences:
        return None
    return _concluded(sentences[-1], alone=len(sentences) == 1)


_RETRACTED = re.compile(
    r"\b(?:wait|no|not|wrong|incorrect|mistake|mistaken|actually|hmm|sorry|instead|rather|alternatively|or|but|however|unless)\b|n't\b|\?",
    re.IGNORECASE,
)


_ANSWERS = re.compile(r"\banswer\s*(?:is|:|=)\s*(?P<rest>.+)", re.IGNORECASE | re.DOTALL)


def _contradicted(rest: str, before: list[str]) -> bool:
    """Whether an earlier sentence gives another answer, and nothing in between takes it back."""
    for index in range(len(before) - 1, -1, -1):
        if _RETRACTED.search(before[index]):
            return False
        match = _ANSWERS.search(before[index])
        if match and plain_answer(match["rest"]) != plain_answer(rest):
            return True
    return False


def _sentences(text: str) -> list[str]:
    joined = _DELIMITER.sub(" ", _DISPLAY.sub(r" \1 ", text))
    return [sentence.strip() for sentence in _SENTENCE_END.split(joined) if sentence.strip(" \t*_#>.-`$")]


_INLINE = re.compile(r"(?<!\\)\$([^$]*[^$\\])\$")
_OF_OTHERS = re.compile(
    r"\b(?:nobody|someone|somebody|some|others|people|they|he|she|says?|said|claims?|thinks|believes)\b",
    re.IGNORECASE,
)


def _committed(before: str, rest: str) -> str | None:
    rest = re.split(r",?\s+(?:and\s+)?not\s+(?=[-\d(A-Z$\\])", rest.strip(), maxsplit=1)[0]
    rest = _INLINE.sub(r"\1", rest)
    if (
        len(rest) > _LONGEST_STATEMENT
        or _OF_OTHERS.search(before)
        or _UNCERTAIN.search(before)
        or _UNCERTAIN.search(_without_formulas(rest))
    ):
        return None
    return _TAIL.sub("", rest).strip() or None


def _without_formulas(text: str) -> str:
    """The words of a sentence; "or" between two values stays, since it makes a list of them."""
    return re.sub(r"(?<=[\d$)}])\s+(?:or|and)\s+(?=[-\d$(\\])", " ", text)


def _concluded(sentence: str, *, alone: bool) -> str | None:
    """What the last sentence says, if it ends in a value, or is nothing but one."""
    sentence = _HEADING.sub("", _CORRECTED.sub("", sentence.strip(), count=1), count=1)
    if len(sentence) > _LONGEST_STATEMENT * 2 or _UNCERTAIN.search(_without_formulas(sentence)):
        return None
    plain = plain_answer(sentence)
    if _is_value(plain):
        return plain
    if (match := _COPULA.fullmatch(sentence)) and _is_value(plain_answer(match["rest"])):
        return plain_answer(match["rest"])
    bold = re.findall(r"\*\*([^*]+)\*\*", sentence)
    if bold and len(set(bold)) == 1 and _is_value(plain_answer(bold[0])):
        return plain_answer(bold[0])
    if alone and len(sentence) <= _LONGEST_BARE and len(sentence.split()) <= 4:
        return plain
    if _CONCLUSION.match(sentence):
        numbers = set(_CONCLUDED_NUMBER.findall(sentence))
        return numbers.pop() if len(numbers) == 1 and not re.search(r"[\\=^]", sentence) else None
    return None


def _is_value(text: str) -> bool:
    """Whether a text is nothing but a value: mathematics without prose, or a number with its unit."""
    if _VALUE_ONLY.fullmatch(text):
        return True
    bare = _CODE.sub(" ", without_text_macros(text))
    return (
        bool(text)
        and not has_prose(text)
        and re.search(r"\d|[a-zA-Z]\s*=|\\[a-zA-Z]", text) is not None
        and len(bare) < _LONGEST_STATEMENT
    )


_CODE = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z]{2,}(?![a-zA-Z])")
_MATHEMATICAL = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "ln",
        "log",
        "exp",
        "lim",
        "max",
        "min",
        "gcd",
        "lcm",
        "arcsin",
        "arccos",
        "arctan",
        "pi",
        "inf",
        "and",
        "or",
        "mod",
        "det",
        "dim",
        "ker",
        "deg",
        "sqrt",
    ]
)


def has_prose(text: str) -> bool:
    """Whether words stand in it that are no mathematics: a computer algebra system would multiply their letters."""
    upright = [word for body in _UPRIGHT.findall(text) for word in _WORD.findall(body)]
    if any(word.lower() not in _MATHEMATICAL for word in upright):
        return True
    words = _WORD.findall(_ENVIRONMENT.sub(" ", _CODE.sub(" ", without_text_macros(text))))
    return any(_is_prose(word.lower()) for word in words)


def _is_prose(word: str) -> bool:
    if word in _MATHEMATICAL:
        return False
    return word in _STOP_WORDS or (len(word) > 2 and re.search("[aeiou]", word) is not None)


_UPRIGHT = re.compile(r"\\text\s*\{([^{}]*)\}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end|operatorname|mathbb|mathcal)\s*\{[^{}]*\}")
_STOP_WORDS = frozenset(
    ["is", "it", "if", "no", "not", "so", "to", "of", "at", "in", "on", "by", "be", "we", "he", "as", "an", "vs"]
)

_RELATION = re.compile(
    r"[<>\u2260\u2264\u2265\u226a\u226b]|\A\s*!=|\\(?:ne|neq|not|notin|lt|gt|le|ge|leq|geq|leqslant|geqslant|nless|ngtr|nleq"
    r"|ngeq|ll|gg)(?![a-zA-Z])"
)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\!|,\\!)(?=\d{3}(?!\d))")


def is_relation(answer: str) -> bool:
    """Whether an answer says how a value compares ("at least 5", "not 5"), where math-verify may see the value alone."""
    return _RELATION.search(answer) is not None


_CHANGES = re.compile(
    r"\\(?:[lc]?dots|neg|lnot|overline|bar|hat|vec|prime|equiv|p?mod|bmod|pod|to|rightarrow|Rightarrow|implies|iff|forall|exists|cancel|ldots)"
    r"(?![a-zA-Z])|'"
)
"""Macros and signs that math-verify skips, and that change what an answer says."""


def changes_meaning(answer: str, reference: str) -> bool:
    """Whether one of two canonical texts has a sign of `_CHANGES` that the other lacks."""
    return set(_CHANGES.findall(answer)) != set(_CHANGES.findall(reference))


def holds_several_numbers(answer: str) -> bool:
    """Whether at least two different numbers stand in it, anywhere."""
    return len(set(re.findall(r"\d+(?:\.\d+)?", _THOUSANDS.sub("", answer)))) > 1
