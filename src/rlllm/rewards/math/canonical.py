r"""One spelling of mathematics: what is written differently and means the same is the same text afterwards.

`canonical` builds on `plain_answer`, and rewrites signs of Unicode (√ ½ ² ∞ π ≤), macros with several names (`\dfrac`,
`\leqslant`, `\varnothing`, `\langle`), sizes of brackets, and names of functions without a backslash."""

from __future__ import annotations

import re
from functools import lru_cache

from rlllm.parsing.answer_text import plain_answer

_SIGNS = {
    "\u221e": "\\infty ", "\u03c0": "\\pi ", "\u00d7": "\\times ", "\u00f7": "\\div ", "\u00b7": "\\cdot ",
    "\u22c5": "\\cdot ", "\u2217": "*", "\u2215": "/", "\u2044": "/", "\u2264": "\\le ", "\u2265": "\\ge ",
    "\u2a7d": "\\le ", "\u2a7e": "\\ge ", "\u2260": "\\ne ", "\u00b1": "\\pm ", "\u2213": "\\mp ",
    "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2208": "\\in ", "\u2209": "\\notin ", "\u2205": "\\emptyset ",
    "\u00b0": "^\\circ ", "\u2032": "'", "\u211d": "\\mathbb{R}", "\u2124": "\\mathbb{Z}", "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}", "\u2102": "\\mathbb{C}", "\u2248": "\\approx ", "\u27e8": "(", "\u27e9": ")",
    "\u2329": "(", "\u232a": ")", "\u2211": "\\sum ", "\u222b": "\\int ", "\u2212": "-", "\u2192": "\\to ",
    "\u00a0": " ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u03b3": "\\gamma ", "\u03b4": "\\delta ",
    "\u03b5": "\\epsilon ", "\u03b8": "\\theta ", "\u03bb": "\\lambda ", "\u03bc": "\\mu ", "\u03c1": "\\rho ",
    "\u03c3": "\\sigma ", "\u03c4": "\\tau ", "\u03c6": "\\phi ", "\u03c9": "\\omega ", "\u0394": "\\Delta ",
    "\u03a3": "\\Sigma ", "\u03a9": "\\Omega ", "\u00bd": "\\frac{1}{2}", "\u00bc": "\\frac{1}{4}",
    "\u00be": "\\frac{3}{4}", "\u2153": "\\frac{1}{3}", "\u2154": "\\frac{2}{3}", "\u2155": "\\frac{1}{5}",
    "\u2156": "\\frac{2}{5}", "\u2157": "\\frac{3}{5}", "\u2158": "\\frac{4}{5}", "\u2159": "\\frac{1}{6}",
    "\u215a": "\\frac{5}{6}", "\u215b": "\\frac{1}{8}", "\u215c": "\\frac{3}{8}", "\u215d": "\\frac{5}{8}",
    "\u215e": "\\frac{7}{8}",
}  # fmt: skip
_TRANSLATED = str.maketrans(_SIGNS)
_SCRIPTS = {
    **dict(
        zip(
            "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a\u207f\u02e3",
            "0123456789-+nx",
            strict=True,
        )
    ),
    **dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789", strict=True)),
}
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b\u207f\u02e3]+")
_SUBSCRIPT = re.compile("[\u2080-\u2089]+")
_ROOT = re.compile(r"([\u221a\u221b\u221c])\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[a-zA-Z]))")
_INDEX = {"\u221a": "", "\u221b": "[3]", "\u221c": "[4]"}

_SIZES = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|bigg|Bigg|big|Big|middle)(?![a-zA-Z])\s*"
)
_RENAMED = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le",
    "leqslant": "le", "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge", "neq": "ne",
    "varnothing": "emptyset", "R": "mathbb{R}", "Z": "mathbb{Z}", "N": "mathbb{N}", "Q": "mathbb{Q}",
    "infin": "infty", "land": "text{and}", "lor": "text{or}", "wedge": "text{and}", "vee": "text{or}", "lbrace": "{",
    "rbrace": "}", "ast": "times", "cdotp": "cdot", "degree": "circ", "dots": "ldots", "cdots": "ldots",
    "tg": "tan", "ctg": "cot", "cotg": "cot", "arctg": "arctan", "setminus": "backslash",
    "smallsetminus": "backslash",
}  # fmt: skip
_SPELT = {
    "lt": "<", "gt": ">", "langle": "(", "rangle": ")", "lbrack": "[", "rbrack": "]", "vert": "|", "lvert": "|",
    "rvert": "|", "mid": "|", "colon": ":",
}  # fmt: skip
_MACRO = re.compile(r"\\([a-zA-Z]+)")
_OPERATOR = re.compile(r"\\operatorname\*?\s*\{([a-zA-Z]+)\}")
_PLAIN_NAME = re.compile(
    r"(?<![\\a-zA-Z])(?:(sqrt|sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|pi|infty|cup)(?![a-zA-Z])|(infinity|inf|oo)(?![a-zA-Z]))"
)
_OVER = re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}")
_BLACKBOARD = re.compile(r"\\mathbb\s*([A-Z])")
_DEGREES = r"(-?\d+(?:\.\d+)?)\s*\^\\circ"
_ANGLE = re.compile(_DEGREES)
_OF_DEGREES = re.compile(
    rf"(\\(?:sin|cos|tan|cot|sec|csc|cis))\s*(?:\(\s*{_DEGREES}\s*\)|\{{\s*{_DEGREES}\s*\}}|{_DEGREES})"
)
_TURNED = re.compile(r"(?<![a-zA-Z])e\s*\^\s*\{[^{}]*\\circ[^{}]*\}")
_PHASOR = re.compile(r"(?<=[\d)}])\s*\\angle\s*(?=\(?-?\d+(?:\.\d+)?\s*\^\\circ)")
_CIS = re.compile(r"(?:\\text\s*\{\s*cis\s*\}|(?<![\\a-zA-Z{])cis)(?=\s*[({\d\\])")
_REALS = re.compile(
    r"(?:the set of )?all real(?: number)?s|the real(?: number)?s|the set of real numbers", re.IGNORECASE
)
_SPLIT_SUP = re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|(?<!\^)\\circ(?![a-zA-Z])")
_THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3}(?:(?:\{,\}| )\d{3})+)(?![\d])")
_COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_BRACKET = re.compile(r"[(\[]|\\\{")
_CASES = re.compile(
    r"\\begin\{(?:cases|aligned|gathered)\}((?:(?!\\begin|\\end)[^&])*)\\end\{(?:cases|aligned|gathered)\}"
)
_LATEX_COMMA = re.compile(r"(?<=\d)\{,\}(?=\d)")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d*)?|\.\d+)[eE]([-+]?\d{1,3})(?!\w)")


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """The text in one spelling of mathematics; `\\text{}` stays where words stand."""
    text = plain_answer(text)
    if not text.isascii():
        text = _ascii(text)
    if "\\" in text:
        text = _OPERATOR.sub(r"\\\1 ", _SIZES.sub("", text))
        text = _MACRO.sub(_renamed, text)
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", _OVER.sub(r"\\frac{\1}{\2}", f"{{{text}}}"))
        text = text[1:-1] if text[0] == "{" else text
        text = _SPLIT_SUP.sub(r"^\\circ ", _CIS.sub(r"\\cis ", text))
        text = _BLACKBOARD.sub(r"\\mathbb{\1}", text)
        if "\\circ" in text:
            text = _of_degrees(text)
    if _REALS.fullmatch(text):
        return "(-\\infty,\\infty)"
    text = _PLAIN_NAME.sub(lambda match: f"\\{match[1]} " if match[1] else "\\infty ", text)
    text = text.replace("**", "^")
    text = _THOUSANDS.sub(lambda match: match.group().replace("{,}", "").replace(" ", ""), text)
    text = _SCIENTIFIC.sub(r"\1\\times 10^{\2}", _LATEX_COMMA.sub(".", text))
    if "," in text and not _BRACKET.search(text):
        text = _COMMAS.sub(lambda match: match.group().replace(",", ""), text)
    text = re.sub(r"\\\{\s*\\\}", r"\\emptyset ", text)
    if match := _CASES.fullmatch(text.strip()):
        text = match[1].replace("\\\\", ", ")
    return " ".join(text.split()).removeprefix("+").lstrip()


def squeezed(text: str) -> str:
    """A canonical text without the blanks that mean nothing: those not between two letters or digits."""
    return _LOOSE.sub("", text)


_OPENING, _CLOSING = "([{", ")]}"


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Parts between separators outside of brackets, stripped, without empty ones. A bracket may be closed by another kind."""
    parts, depth, start = [], 0, 0
    at = 0
    while at < len(text):
        character = text[at]
        if depth == 0 and (match := separator.match(text, at)) and match.end() > at:
            parts.append(text[start:at])
            start = at = match.end()
            continue
        if character == "\\" and at + 1 < len(text) and text[at + 1] in "{}":
            depth += 1 if text[at + 1] == "{" else -1
            at += 2
            continue
        depth += (character in _OPENING) - (character in _CLOSING)
        depth = max(depth, 0) if not text.startswith("]") else depth
        at += 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


_LOOSE = re.compile(r"(?<![a-zA-Z0-9]) | (?![a-zA-Z0-9])")


def _of_degrees(text: str) -> str:
    """With angles in radians where a function or an exponent takes them; any other angle stays in degrees."""
    text = _TURNED.sub(lambda m: _ANGLE.sub(lambda angle: _radians(angle[1]), m.group()), _PHASOR.sub(r"\\cis ", text))
    return _OF_DEGREES.sub(lambda m: f"{m[1]}({_radians(m[2] or m[3] or m[4])})", text)


def _radians(degrees: str) -> str:
    return f"\\frac{{{degrees}\\pi}}{{180}}"


def _renamed(match: re.Match[str]) -> str:
    name = match[1]
    if name in _SPELT:
        return _SPELT[name]
    return f"\\{_RENAMED[name]} " if name in _RENAMED else match.group()


def _ascii(text: str) -> str:
    text = _ROOT.sub(lambda m: f"\\sqrt{_INDEX[m[1]]}{{{m[2] or m[3] or m[4]}}}", text)
    text = re.sub("\u0305", "", re.sub("((?:\\d\u0305)+)", lambda m: f"\\overline{{{m[1]}}}", text))
    text = _SUPERSCRIPT.sub(lambda m: f"^{{{''.join(_SCRIPTS[c] for c in m.group())}}}", text)
    text = _SUBSCRIPT.sub(lambda m: f"_{{{''.join(_SCRIPTS[c] for c in m.group())}}}", text)
    return text.translate(_TRANSLATED)
