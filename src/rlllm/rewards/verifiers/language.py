"""The `language` reward, and detection of a text's language by script and stop words. No model, no download.

Scripts come from the Unicode character names. Among the languages of one script the stop words decide, if one language clearly
leads; otherwise the language is undecided, which does not count as wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rlllm.core.errors import unknown
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.rewards.verifiers.stopwords import STOP_WORDS

_HAN = "CJK"
_KANA = frozenset({"HIRAGANA", "KATAKANA"})
_OWN_SCRIPT: Mapping[str, str] = {
    "el": "GREEK",
    "he": "HEBREW",
    "bn": "BENGALI",
    "pa": "GURMUKHI",
    "gu": "GUJARATI",
    "ta": "TAMIL",
    "te": "TELUGU",
    "kn": "KANNADA",
    "ml": "MALAYALAM",
    "si": "SINHALA",
    "th": "THAI",
    "lo": "LAO",
    "my": "MYANMAR",
    "km": "KHMER",
    "ka": "GEORGIAN",
    "hy": "ARMENIAN",
    "am": "ETHIOPIC",
    "ko": "HANGUL",
}
SCRIPTS: Mapping[str, frozenset[str]] = {
    **{language: frozenset({script}) for language, script in _OWN_SCRIPT.items()},
    **{language: frozenset({script}) for script, profiles in STOP_WORDS.items() for language in profiles},
    "zh": frozenset({_HAN, "BOPOMOFO"}),
    "ja": frozenset({_HAN}) | _KANA,
}
"""Language (ISO 639-1) to the scripts it is written in."""

_CLEAR = 2.0
"""How many times as much evidence the best profile needs as the second."""
_KANA_SHARE = 0.05
"""Share of kana from which text with Han characters is Japanese."""
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$[^$]*\$\$|\$[^$\n]*\$|\\\[[^\[\]]*\\\]|\\[a-zA-Z]+|https?://\S+|</?\w+>", re.DOTALL
)
_SMALLEST_PROSE = 0.2
"""Share of the letters that must stand outside formulas and code, for these to be left out."""
_SEGMENT = re.compile(r"[^\n.!?\u3002\uff01\uff1f\u0964\u061f]+")
_BETWEEN_WORDS = re.compile(r"[\s'\u2019\-\u2014/]+")
_PUNCTUATION = '.,;:!?"“”„«»()[]{}*_#>…¿¡،؛؟।-\u2013'


@dataclass(frozen=True)
class Language:
    """Share of the letters that are written in the expected language, 0 to 1.

    A letter counts if its script is one of the language's and the stop words of its sentence do not clearly speak for
    another language. Formulas, code and addresses are left out where enough other text remains (a fifth of the letters).
    An empty completion is worth 0; one without letters (a bare number) cannot be judged. The language consistency reward of
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
        return Score(share, parsed=detect(sample.completion), note="no letters to judge" if share is None else None)


def base_code(code: str) -> str:
    """`zh` of `zh-CN`, `en` of `en_US`."""
    return re.split(r"[-_]", code.strip().lower(), maxsplit=1)[0]


def _consistency(text: str, language: str) -> float | None:
    """Share of the letters of `text` in `language` (a key of `SCRIPTS`); None without letters."""
    total = right = 0
    for segment in _SEGMENT.findall(_prose(text)):
        counts = _script_counts(segment)
        total += counts.total()
        if _undecided_or(language, segment, counts):
            right += sum(counts[script] for script in SCRIPTS[language])
    return right / total if total else None


def detect(text: str) -> str | None:
    """The language most of `text` is written in; None if undecided.

    Undecided are text without letters, scripts of no known language, and text whose stop words do not clearly speak for one
    of the languages of its script.
    """
    body = _prose(text)
    return _decided(body, _script_counts(body))


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


def _undecided_or(language: str, segment: str, counts: Counter[str]) -> bool:
    """Whether a segment may be of `language`; one of kanji alone may be Japanese."""
    decided = _decided(segment, counts)
    if language == "ja" and decided == "zh":
        return True
    return decided in (None, language) or not SCRIPTS[decided] & SCRIPTS[language]


def _decided(text: str, counts: Counter[str]) -> str | None:
    if not counts:
        return None
    east_asian = sum(counts[script] for script in _KANA | {_HAN})
    kana = sum(counts[script] for script in _KANA)
    if east_asian * 2 >= counts.total():
        return "ja" if kana >= _KANA_SHARE * east_asian else "zh"
    script, letters = counts.most_common(1)[0]
    if letters * 2 < counts.total():
        return None
    if script in STOP_WORDS:
        return _by_stop_words(text, script)
    return next((language for language, own in _OWN_SCRIPT.items() if own == script), None)


def _by_stop_words(text: str, script: str) -> str | None:
    weights = _profiles(script)
    evidence: dict[str, float] = {}
    for word in _BETWEEN_WORDS.split(unicodedata.normalize("NFKC", text).lower()):
        for language, weight in weights.get(word.strip(_PUNCTUATION), ()):
            evidence[language] = evidence.get(language, 0.0) + weight
    (best, most), (_, second) = [*sorted(evidence.items(), key=lambda pair: -pair[1]), ("", 0.0), ("", 0.0)][:2]
    return best if most >= 1 and most >= _CLEAR * second else None


@cache
def _profiles(script: str) -> dict[str, list[tuple[str, float]]]:
    """Word to (language, weight); a word's weights sum to 1."""
    owners: dict[str, list[str]] = {}
    for language, words in STOP_WORDS[script].items():
        for word in set(unicodedata.normalize("NFKC", words).split()):
            owners.setdefault(word, []).append(language)
    return {word: [(language, 1 / len(languages)) for language in languages] for word, languages in owners.items()}


@cache
def _script(character: str) -> str:
    name = unicodedata.name(character, "UNKNOWN").split(" ")[0]
    return "KATAKANA" if name == "KATAKANA-HIRAGANA" else name
