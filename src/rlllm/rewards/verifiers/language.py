"""The `language` reward, and detection of a text's language by script and by py3langid's model. No download.

Scripts come from the Unicode character names. Among the languages of one script py3langid decides (a naive Bayes model over
byte n-grams, after Lui and Baldwin 2012, "langid.py"); below a probability of `_DECIDED` the language is undecided.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from rlllm.core.errors import unknown
from rlllm.core.records import Sample, Score, prompt_text

_HAN = "CJK"
_KANA = frozenset({"HIRAGANA", "KATAKANA"})
_LANGUAGES_BY_SCRIPT: Mapping[str, str] = {
    "LATIN": "af an az br bs ca cs cy da de en eo es et eu fi fo fr fy ga gd gl ha hr ht hu id ig is it jv ku la lb lg ln "
    "lt lv mg ms mt nl no oc om pl pt qu ro rw se sk sl sn so sq sr st sv sw tk tl tr uz vi vo wa xh yo zu",
    "CYRILLIC": "ba be bg kk ky mk mn ru sr tg tt uk",
    "ARABIC": "ar fa ku ps ug ur",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "bn as",
    "GREEK": "el",
    "HEBREW": "he",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "MYANMAR": "my",
    "KHMER": "km",
    "TIBETAN": "dz",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "HANGUL": "ko",
}


def _scripts() -> dict[str, frozenset[str]]:
    scripts: dict[str, frozenset[str]] = {}
    for script, languages in _LANGUAGES_BY_SCRIPT.items():
        for language in languages.split():
            scripts[language] = scripts.get(language, frozenset()) | {script}
    return {**scripts, "zh": frozenset({_HAN, "BOPOMOFO"}), "ja": frozenset({_HAN}) | _KANA}


SCRIPTS: Mapping[str, frozenset[str]] = _scripts()
"""Language (ISO 639-1) to the scripts it is written in: every language that can be told."""

_VARIETIES: Mapping[str, str] = {"ary": "ar", "arz": "ar", "nn": "no", "pcm": "en", "sdh": "ku"}
"""Labels of py3langid that count as a language of `SCRIPTS`: Arabic of Morocco and Egypt, Nynorsk, Pidgin, Southern Kurdish."""
_NO_LANGUAGE = "zxx"
"""py3langid's label of text that is no language."""
_ONE_STANDARD = frozenset({"bs", "hr", "sr"})
"""Standards of one language, which a sentence rarely tells apart."""

_RARE = frozenset({"an", "br", "eo", "eu", "fo", "fy", "gl", "ht", "la", "lb", "oc", "se", "vo", "wa"})
"""Languages of few texts, for which a short sentence of a neighbour is taken ("Roma es la capital" for Occitan)."""
_RARITY = 1 / 3
"""Their share beside what the model says, which knows of no frequencies."""
_DECIDED = 0.4
"""Least probability of the most probable language. On 70 ordinary sentences, a wrong one reached .38 and a right one .40."""
_CLOSE = 1.5
"""How many times as probable as the expected language another has to be, for a text to be in that (Danish and Norwegian)."""
_CLEAR = 4.0
"""How many times as probable as the expected language another has to be, for a sentence to speak against the rest of a text."""
_KANA_SHARE = 0.05
"""Share of kana from which text with Han characters is Japanese."""
_MOST_KANJI = 12
"""Letters up to which Han characters without kana may be Japanese: a title, a name, a compound."""
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$[^$]*\$\$|\$[^$\n]*\$|\\\[[^\[\]]*\\\]|\\[a-zA-Z]+|https?://\S+|</?\w+>", re.DOTALL
)
_SMALLEST_PROSE = 0.2
"""Share of the letters that must stand outside formulas and code, for these to be left out."""
_SEGMENT = re.compile(r"[^\n.!?\u3002\uff01\uff1f\u0964\u061f]+")


@dataclass(frozen=True)
class Language:
    """Share of the letters that are written in the expected language, 0 to 1.

    A letter counts if its script is one of the language's and its sentence is not clearly in another language of that
    script; a sentence that is too short to tell counts as the whole text does. Formulas, code and addresses are left out
    where enough other text remains (a fifth of the letters). An empty completion is worth 0. None where there are no letters
    (a bare number), or so few that no language of the script can be told ("Berlin"). The language consistency reward of
    DeepSeek-R1 (arXiv 2501.12948, section 2.3.2), which counts words.

    Args:
        language: ISO 639-1 code; by default the row's column, else the language of the prompt, where that is clear.
        column: the row's column with the code.
    """

    language: str | None = None
    column: str = "language"
    verifies = False

    def __post_init__(self) -> None:
        if self.language is not None and base_code(self.language) not in SCRIPTS:
            raise unknown("language of the reward language", self.language, SCRIPTS)

    def __call__(self, sample: Sample) -> Score:
        code = self.language or sample.meta.get(self.column) or detect(prompt_text(sample.prompt))
        if not isinstance(code, str):
            return Score(None, note="neither the reward, the row nor the prompt says which language")
        if base_code(code) not in SCRIPTS:
            return Score(None, note=f"undecidable language: {code[:40]}")
        if not sample.completion.strip():
            return Score(0.0, note="empty")
        share = _consistency(sample.completion, base_code(code))
        note = "no letters, or too few to tell a language" if share is None else None
        return Score(share, parsed=detect(sample.completion), note=note)


def base_code(code: str) -> str:
    """`zh` of `zh-CN`, `en` of `en_US`."""
    return re.split(r"[-_]", code.strip().lower(), maxsplit=1)[0]


def _consistency(text: str, language: str) -> float | None:
    """Share of the letters of `text` in `language` (a key of `SCRIPTS`); None where no letter can be judged."""
    prose = _prose(text)
    whole = _is_of(language, prose, clear=_CLOSE)
    total = right = undecided = 0
    for segment in _SEGMENT.findall(prose):
        counts = _script_counts(segment)
        total += counts.total()
        verdict = _is_of(language, segment, clear=_CLEAR)
        letters = sum(counts[script] for script in SCRIPTS[language])
        if (whole if verdict is None else verdict) is not False:
            right += letters
        if whole is None and verdict is None:
            undecided += letters
    return None if undecided == total else right / total


def detect(text: str) -> str | None:
    """The language most of `text` is written in; None if undecided.

    Undecided are text without letters, scripts of no known language, and text that may be of several languages of its
    script.
    """
    probabilities = _probabilities(_prose(text))
    best = max(probabilities, key=lambda language: probabilities[language], default=_NO_LANGUAGE)
    return None if best == _NO_LANGUAGE or probabilities[best] < _DECIDED else best


def most_probable(text: str) -> str | None:
    """The most probable language of `text`, however little speaks for it; None of text without letters of a known script."""
    probabilities = _probabilities(_prose(text))
    languages = [language for language in probabilities if language != _NO_LANGUAGE]
    return max(languages, key=lambda language: probabilities[language], default=None)


def is_in(text: str, language: str) -> bool | None:
    """Whether most of `text` is written in `language` (a key of `SCRIPTS`); None if undecided."""
    return _is_of(language, _prose(text), clear=_CLOSE)


def _script_counts(text: str) -> Counter[str]:
    """Number of letters by script, as the first word of their Unicode names: LATIN, CYRILLIC, CJK, ..."""
    counts: Counter[str] = Counter()
    for character, times in Counter(unicodedata.normalize("NFKC", text)).items():
        if character.isalpha():
            counts[_script(character)] += times
    return counts


def _prose(text: str) -> str:
    """`text` without formulas, code and addresses; all of it, where hardly anything else is there."""
    rest = _NOT_PROSE.sub(" ", text)
    enough = sum(map(str.isalpha, rest)) >= max(1.0, _SMALLEST_PROSE * sum(map(str.isalpha, text)))
    return rest if enough else text


def _is_of(language: str, text: str, clear: float) -> bool | None:
    """Whether `text` is of `language`.

    Args:
        language: a key of `SCRIPTS`.
        text: prose.
        clear: how many times as probable as `language` another language has to be for False.
    """
    probabilities = _probabilities(text)
    best = max(probabilities, key=lambda code: probabilities[code], default=_NO_LANGUAGE)
    if best == _NO_LANGUAGE or probabilities[best] < _DECIDED:
        return None
    if best == language or {best, language} <= _ONE_STANDARD:
        return True
    kanji_alone = language == "ja" and best == "zh" and _script_counts(text).total() <= _MOST_KANJI
    if kanji_alone or (
        SCRIPTS[best] & SCRIPTS[language] and probabilities[best] < clear * probabilities.get(language, 0.0)
    ):
        return None
    return False


@lru_cache(maxsize=1024)
def _probabilities(text: str) -> dict[str, float]:
    """Language to probability, among the languages of the script that most letters are of; empty where there is none."""
    counts = _script_counts(text)
    if not counts:
        return {}
    east_asian = sum(counts[script] for script in _KANA | {_HAN})
    kana = sum(counts[script] for script in _KANA)
    if east_asian * 2 >= counts.total():
        return {"ja" if kana >= _KANA_SHARE * east_asian else "zh": 1.0}
    script, letters = counts.most_common(1)[0]
    languages = _LANGUAGES_BY_SCRIPT.get(script, "").split() if letters * 2 > counts.total() else []
    return _shares(text, languages) if len(languages) > 1 else dict.fromkeys(languages, 1.0)


def _shares(text: str, languages: Collection[str]) -> dict[str, float]:
    """Probability of each of the languages, and of no language at all, by py3langid's model."""
    shares = dict.fromkeys((*languages, _NO_LANGUAGE), 0.0)
    for label, probability in _identifier().rank(unicodedata.normalize("NFKC", text)):
        language = _VARIETIES.get(label, label)
        if language in shares:
            shares[language] += probability * (_RARITY if language in _RARE else 1.0)
    total = sum(shares.values())
    return {language: share / total for language, share in shares.items()} if total else {}


@cache
def _identifier() -> Any:
    """py3langid's identifier with its own model; read once, since that takes a second. It is not changed by use."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _script(character: str) -> str:
    name = unicodedata.name(character, "UNKNOWN").split(" ")[0]
    return "KATAKANA" if name == "KATAKANA-HIRAGANA" else name
