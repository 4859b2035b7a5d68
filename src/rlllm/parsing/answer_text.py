r"""One spelling of an answer: what is written around it, and how its characters are encoded, never decide whether it is right.

Every reward that compares an answer with a reference passes both through `plain_answer` first. It changes the encoding
(full-width forms, digits of other scripts, minus signs, quotation marks, blanks), and it takes off what surrounds the whole
answer: display delimiters, markdown, boxes, `\text{}`, macros of style, labels such as "Answer:", and the full stop that closes
the sentence. Case, words, units and the mathematics stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CLOSING_STOPS = ".\u3002\uff0e\uff61\u0964\u06d4"
"""Full stops of Latin, CJK, Devanagari and Arabic scripts."""
_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_INVISIBLE = (
    "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\ufeff\ufe0e\ufe0f"
)
_REPLACED: dict[str, str] = {
    **dict.fromkeys(_BLANKS, " "),
    **dict.fromkeys(_INVISIBLE, ""),
    **dict.fromkeys("\u2010\u2011\u2212\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2018\u2019\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201f", '"'),
    **dict.fromkeys("\u3002\uff61\u0964\u06d4", "."),
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code != 0xFF0D},
    "\u3001": ",",
    "\u066b": ".",
    "\u066c": ",",
}
_CHARACTERS = str.maketrans(_REPLACED)
_OTHER_LETTERS = re.compile("[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u0e50-\u0e59\U0001d400-\U0001d7ff]")
_LEADING_DASH = re.compile(r"(?:(?<=[(\[{,;=^])|\A)\s*[\u2012\u2013](?=\s*[\d.\\])")

_SPACES = re.compile(
    r"(?<!\\)\\[,:;> \t]|(?<=[^\s\\])~(?=\S)|\\(?:enspace|thinspace|medspace|thickspace|hfill)(?![a-zA-Z])"
)
_NO_SPACE = re.compile(r"(?<!\\)\\!|\\(?:allowbreak|nobreak|limits|nolimits|strut|null)(?![a-zA-Z])|\\left\.|\\right\.")
_ARGUMENT = r"\s*\{(?P<body>(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
_STYLED = re.compile(
    r"\\(?:boxed|fbox|framebox|mathbf|textbf|bm|bold|boldsymbol|pmb|underline|uline|emph|textit|mathit|textsf|mathsf|texttt"
    r"|mathtt|textsl|textsc|ensuremath|mathnormal|mathstrut|textcolor\s*(?:\[\w*\])?\s*\{[^{}]*\}|colorbox\s*\{[^{}]*\}"
    r"|fcolorbox\s*\{[^{}]*\}\s*\{[^{}]*\}|bbox\s*\[[^\]]*\])" + _ARGUMENT
)
_SWITCH = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|bf"
    r"|bfseries|it|itshape|sf|tt|mathstrut|color\s*(?:\[\w*\])?\s*\{[^{}]*\})(?![a-zA-Z])\s*"
    r"|\\(?:hspace|vspace|phantom|hphantom|vphantom|label|tag)\*?\s*\{[^{}]*\}"
)
_ROMAN = re.compile(r"\{\s*\\(?:rm|mathrm)\s+([^{}]*)\}|\\rm\s+([^{}\\]*)\Z")
_TEXT = re.compile(r"\\(?:text|textrm|textnormal|mathrm|mbox|hbox|textup)(?![a-zA-Z])(?=\s*\{)")
_OUTER = (
    re.compile(r"\$\$(?P<body>[^$]*)\$\$"),
    re.compile(r"(?<!\\)\$(?P<body>(?:[^$\\]|\\.)*)\$", re.DOTALL),
    re.compile(r"\\\((?P<body>(?:(?!\\\)).)*)\\\)", re.DOTALL),
    re.compile(r"\\\[(?P<body>(?:(?!\\\]).)*)\\\]", re.DOTALL),
    re.compile(
        r"\\begin\{(?P<name>equation|align|aligned|displaymath|math|center|gather)\*?\}(?P<body>[^&]*)\\end\{(?P=name)\*?\}"
    ),
    re.compile(
        r"\*\*\*(?P<body>[^*]+)\*\*\*|\*\*(?P<bold>[^*\s](?:[^*]*[^*\s])?)\*\*|\*(?P<italic>[^*\s](?:[^*]*[^*\s])?)\*"
    ),
    re.compile(r"```[a-zA-Z]*\s*\n(?P<body>[^`]*)\n\s*```|`+(?P<code>[^`]+)`+"),
    re.compile(r"__(?![a-z][a-z0-9_]*__\Z)(?P<body>[^_\s](?:[^_]*[^_\s])?)__"),
    re.compile(r"\\text" + _ARGUMENT),
    re.compile(r"<(?P<tag>b|strong|i|em|u|span|p|div)>(?P<body>[^<]*)</(?P=tag)>", re.IGNORECASE),
)
"""What may enclose a whole answer. `**kwargs` has no end, and `__init__` is a name: both stay."""
_LABEL = re.compile(
    r"(?:\\text\s*\{\s*)?[*_]*(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my|our)\s+)?(?:(?:final|correct|right|exact)\s+)?"
    r"(?:answer|ans|result|solution)(?:\s+is)?[*_]*\s*(?:[:=]|(?<=\bis))[*_]*\s*\}?\s*(?=\S)",
    re.IGNORECASE,
)
_CJK_LABEL = re.compile(
    r"(?:(?:\u6700\u7ec8|\u6b63\u786e)?\u7b54\u6848|\u7b54)\s*(?:[:\u4e3a\u662f]|\u5e94\u4e3a)\s*:?\s*(?=\S)"
)
_ENDS_IN_STOP = re.compile(r"(?<![.\u2026])[.,;:](?:\\\\)?\Z|\\\\\Z")


@lru_cache(maxsize=16384)
def plain_answer(text: str) -> str:
    """The answer itself, in one spelling. Never empty unless `text` is blank: what is nothing but punctuation stays."""
    plain = plain_characters(text).strip()
    if not plain or (plain.isascii() and plain.isalnum()):
        return plain
    if "\\" in plain or "~" in plain:
        plain = _macros(plain)
    for _ in range(12):
        inner = _inner(plain)
        if inner == plain or not inner:
            break
        plain = inner
    return plain


def same_text(first: str, second: str) -> bool:
    """Whether two answers are the same text in `plain_answer`'s spelling. Blanks are collapsed; case counts."""
    return _words(first) == _words(second)


def without_text_macros(text: str) -> str:
    r"""The text with every `\text{words}` replaced by its words."""
    return _INNER_TEXT.sub(r"\g<body>", text) if "\\text" in text else text


_INNER_TEXT = re.compile(r"\\text" + _ARGUMENT)


def _words(text: str) -> list[str]:
    return without_text_macros(plain_answer(text)).split()


def plain_characters(text: str) -> str:
    """Any text with its characters in one encoding; what they say is the same."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text).translate(_CHARACTERS)
    return _LEADING_DASH.sub("-", _OTHER_LETTERS.sub(_compatible, text))


def _compatible(match: re.Match[str]) -> str:
    """A digit of any script as an ASCII digit, a letter of the mathematical alphabets as the letter."""
    character = match.group()
    digit = unicodedata.digit(character, None)
    return unicodedata.normalize("NFKC", character) if digit is None else str(digit)


def _macros(text: str) -> str:
    """Without macros of spacing and style, wherever they stand; every macro for upright text is `\\text`."""
    text = _SWITCH.sub("", _NO_SPACE.sub("", _SPACES.sub(" ", text)))
    text = _TEXT.sub(r"\\text", _ROMAN.sub(lambda match: f"\\text{{{match[1] or match[2]}}}", text))
    for _ in range(4):
        unstyled = _STYLED.sub(r"\g<body>", text)
        if unstyled == text:
            break
        text = unstyled
    return text.strip()


def _inner(text: str) -> str:
    """The text with one layer of what surrounds it taken off."""
    if match := _ENDS_IN_STOP.search(text):
        text = text[: match.start()].rstrip() or text
    if text[0] in "$\\*`_<" or text.startswith(("{", "\\text")):
        for pattern in _OUTER:
            if match := pattern.fullmatch(text):
                named = match.groupdict()
                return next(
                    named[key] for key in ("body", "bold", "italic", "code") if named.get(key) is not None
                ).strip()
        if text[0] == "{" and _closes_at_end(text):
            return text[1:-1].strip()
    match = _LABEL.match(text) or _CJK_LABEL.match(text)
    if match:
        return text[match.end() :].strip()
    return text


def _closes_at_end(text: str) -> bool:
    """Whether the brace that opens a text is closed by its last character."""
    depth = 0
    for index, character in enumerate(text):
        if character in "{}" and (index == 0 or text[index - 1] != "\\"):
            depth += 1 if character == "{" else -1
            if depth == 0:
                return index == len(text) - 1
    return False
