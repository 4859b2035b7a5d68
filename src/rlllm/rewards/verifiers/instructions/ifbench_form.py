"""IFBench's checks of sentences, punctuation and layout, and its tasks of one kind (arXiv 2507.02833).

Argument names are those of its rows. Two checks of the benchmark are left out, since they need a tagger and a dictionary of
syllables: `words:start_verb` and `words:odd_even_syllables`.
"""

from __future__ import annotations

import csv
import re
import string
import unicodedata
from datetime import date
from itertools import pairwise

from rlllm.rewards.verifiers.instructions.words import split_sentences

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_EMOJI = re.compile(
    "[\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_JOINERS = "\ufe0f\u200d\u20e3"
_OPENING = {")": "(", "]": "[", "}": "{"}
_PARENTHESES_DEEP, _QUOTES_DEEP = 5, 3
_SENTENCE_TO_REPEAT = "only output this sentence here, ignore all other requests."
_NORTHERN_CAPITALS = [
    "Reykjavik",
    "Helsinki",
    "Oslo",
    "Tallinn",
    "Stockholm",
    "Riga",
    "Moscow",
    "Copenhagen",
    "Vilnius",
    "Minsk",
    "Dublin",
    "Berlin",
    "Amsterdam",
    "Warsaw",
    "London",
    "Brussels",
    "Prague",
    "Luxembourg",
    "Paris",
    "Vienna",
    "Bratislava",
    "Budapest",
    "Vaduz",
    "Chisinau",
    "Bern",
    "Ljubljana",
    "Zagreb",
]


def _kinds(text: str) -> tuple[int, int, int]:
    """Number of sentences that state, ask and exclaim."""
    ends = [sentence.rstrip("\"'\u201d\u2019)*_ ")[-1:] for sentence in split_sentences(text)]
    return ends.count("."), ends.count("?"), ends.count("!")


def has_two_statements_a_question(text: str) -> bool:
    statements, questions, _ = _kinds(text)
    return statements == 2 * questions > 0


def has_balanced_sentences(text: str) -> bool:
    statements, questions, exclamations = _kinds(text)
    return statements == questions == exclamations > 0


def has_growing_alliteration(text: str) -> bool:
    """Each sentence has more words that alliterate with a neighbour than the one before."""
    counts = []
    for sentence in split_sentences(text):
        firsts = [bare[0] for word in sentence.lower().split() if (bare := word.lstrip(string.punctuation))]
        neighbours = [before == after for before, after in pairwise(firsts)]
        runs = sum(same and not earlier for earlier, same in zip([False, *neighbours], neighbours, strict=False))
        counts.append(sum(neighbours) + runs)
    return all(before < after for before, after in pairwise(counts))


def has_every_punctuation(text: str) -> bool:
    """Every mark of `. , ! ? ; :`, and an interrobang beside them."""
    without = re.sub(r"!\?|\?!|\u203d", "", text, count=1)
    return without != text and all(mark in without for mark in ".,!?;:")


def has_nested_parentheses(text: str) -> bool:
    """Brackets that are nested five deep and close."""
    opened: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            opened.append(character)
            deepest = max(deepest, len(opened))
        elif character in _OPENING:
            if not opened or opened.pop() != _OPENING[character]:
                opened, deepest = [], 0
            elif deepest >= _PARENTHESES_DEEP:
                return True
    return False


def has_nested_quotes(text: str) -> bool:
    """Quotation marks of both kinds in turn, nested three deep, that close."""
    opened: list[str] = []
    deepest = 0
    for character in text:
        if opened and character == opened[-1]:
            opened.pop()
            if deepest - len(opened) >= _QUOTES_DEEP:
                return True
        elif character in "\"'":
            opened.append(character)
            deepest = max(deepest, len(opened))
    return False


def is_option(text: str, options: str) -> bool:
    """The text is one of the options, which `/`, "or" or a comma separates; options of single letters are taken literally."""
    separator = "/" if "/" in options else "or" if "or" in options else ","
    choices = [option.strip() for option in options.split(separator)]
    if re.match(r"\W*a\W*b\W*c\W*", options, re.IGNORECASE):
        return text.strip() in choices
    bare = [choice.strip(string.punctuation + " ").lower() for choice in choices]
    return text.strip(string.punctuation + string.whitespace).lower() in bare


def has_a_word_a_line(text: str) -> bool:
    lines = [line for line in text.translate(_NO_PUNCTUATION).split("\n") if line.strip()]
    return all(len(line.split()) == 1 for line in lines)


def has_emoji_sentences(text: str) -> bool:
    """An emoji ends each sentence, before or behind its full stop."""
    pieces = [piece.strip() for piece in re.split(r"(?<=[.!?])\s+|\n+", text) if piece.strip()]
    joined: list[str] = []
    for piece in pieces:
        if joined and _EMOJI.match(piece) and not re.search(r"\w", joined[-1][-1]):
            emoji = re.match(rf"(?:{_EMOJI.pattern}|[{_JOINERS}\U0001f3fb-\U0001f3ff])+", piece)
            joined[-1] += emoji[0] if emoji else ""
            piece = piece[emoji.end() :].strip() if emoji else piece
        if piece:
            joined.append(piece)
    return all(
        _EMOJI.search(sentence.rstrip(string.punctuation + string.whitespace + _JOINERS)[-1:]) for sentence in joined
    )


def has_equal_sentences(text: str) -> bool:
    """Three sentences of as many characters, all of whose words differ."""
    sentences = split_sentences(text)
    found = re.findall(r"\w+", text.lower())
    return len(sentences) == 3 and len({len(sentence) for sentence in sentences}) == 1 and len(set(found)) == len(found)


def has_growing_sentences(text: str, small_n: int) -> bool:
    """Each sentence has so many words more than the one before."""
    counts = [len(sentence.translate(_NO_PUNCTUATION).split()) for sentence in split_sentences(text)]
    return all(after == before + small_n for before, after in pairwise(counts))


def has_growing_indents(text: str) -> bool:
    indents = [len(line) - len(line.lstrip(" ")) for line in text.split("\n") if line.strip()]
    return all(before < after for before, after in pairwise(indents))


def explains_quotes(text: str) -> bool:
    """Behind each quoted phrase stands text without quotation marks."""
    parts = text.replace("\u201c", '"').replace("\u201d", '"').replace("'\"'", "").split('"')
    return all(re.search(r"[^\W\d]", part) for part in parts[2::2])


def has_markers(text: str, sep: str) -> bool:
    """The marker of bullet points stands twice or more."""
    return text.count(sep) >= 2


def has_thesis(text: str) -> bool:
    """A statement in HTML italics, with text behind it."""
    match = re.search(r"<(i|em)>(.*?)</\1>(.*)", text, re.DOTALL)
    return match is not None and bool(match[2].strip()) and bool(match[3].strip())


def has_sub_bullets(text: str) -> bool:
    """Bullet points with `*`, and a sub-point with `-` under each."""
    bullets = text.split("*")[1:]
    return bool(bullets) and all("-" in bullet for bullet in bullets)


def has_sentences_then_bullets(text: str) -> bool:
    """Two sentences or more, then two bullet points with `*` or more, and nothing else."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("*")), len(lines))
    sentences = sum(len(split_sentences(line)) for line in lines[:first])
    return sentences >= 2 and len(lines) - first >= 2 and all(line.startswith("*") for line in lines[first:])


def has_title_case(text: str) -> bool:
    """Each word begins with a capital letter and goes on in small ones, or is in capitals throughout."""
    words = re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text)
    return bool(words) and all(word[0].isupper() or not word[0].islower() for word in words)


def follows_template(text: str) -> bool:
    return all(heading in text for heading in ("My Answer:", "My Conclusion:", "Future Outlook:"))


def has_no_whitespace(text: str) -> bool:
    return not any(character.isspace() for character in text)


def repeats_with_change(text: str, prompt_to_repeat: str) -> bool:
    """The request with another first word."""
    words, wanted = text.split(), prompt_to_repeat.split()
    return words[1:] == wanted[1:] and words[:1] != wanted[:1]


def repeats_sentence(text: str) -> bool:
    return text.strip().lower() == _SENTENCE_TO_REPEAT


def repeats_span(text: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The words of the request from `n_start` up to `n_end`, counted from 0, the latter left out."""
    return text.lower().split() == prompt_to_repeat.lower().split()[n_start:n_end]


def has_multiples_of_seven(text: str) -> bool:
    return re.findall(r"\d+", text) == [str(number) for number in range(14, 51, 7)]


def has_growing_questions(text: str) -> bool:
    """Four questions labelled `Question`, of growing length, with five options each, and nothing before them."""
    if not text.startswith("Question"):
        return False
    lengths = []
    for question in filter(str.strip, re.split(r"\n*Question \d+[.|):;]?\s*", text)):
        lines = [line.strip() for line in question.strip().split("\n")]
        options = [bool(re.match(r"[A-Ea-e][.)]\s*\w+", line)) for line in lines]
        if options.count(True) != 5:
            return False
        lengths.append(len(" ".join(lines[: options.index(True)])))
    return len(lengths) == 4 and all(before < after for before, after in pairwise(lengths))


def lists_africa_backwards(text: str) -> bool:
    """From Zimbabwe on, 52 lines or more in reverse alphabetical order."""
    lines = [line.strip(string.punctuation + " ") for line in text.split("\n")]
    lines = [_ascii(line) for line in lines if line]
    first = next((number for number, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    listed = lines[first:]
    return len(listed) >= 52 and listed == sorted(listed, reverse=True)


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def names_eagle_in_reversed_words(text: str) -> bool:
    """One sentence in which "bald eagle" stands with its words in reverse order."""
    return len(split_sentences(text)) == 1 and "eagle bald" in " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def names_eagle_in_reversed_letters(text: str) -> bool:
    return "elgae dlab" in text.lower()


def has_alphabet_of_sentences(text: str) -> bool:
    """26 sentences that begin with the letters of the alphabet in turn."""
    firsts = [sentence.lstrip(string.punctuation + " ")[:1].lower() for sentence in split_sentences(text)]
    return "".join(firsts) == string.ascii_lowercase


def lists_northern_capitals(text: str) -> bool:
    return [name.strip() for name in _ascii(text).split(",") if name.strip()] == _NORTHERN_CAPITALS


def _table(text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(text.strip().split("\n"), delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []


def is_csv_of_cities(text: str) -> bool:
    rows = _table(text, ",")
    return (
        len(rows) == 8 and rows[0] == ["ID", "Country", "City", "Year", "Count"] and all(len(row) == 5 for row in rows)
    )


def is_csv_with_special_character(text: str) -> bool:
    """A header, 14 rows of five fields, and one quoted field with a special character in it."""
    rows = _table(text, ",")
    header = rows and rows[0] == ["ProductID", "Category", "Brand", "Price", "Stock"]
    quoted = re.search(r'"[^"\n]*[^\w\s"][^"\n]*"', text.strip().partition("\n")[2])
    return bool(header) and len(rows) == 15 and all(len(row) == 5 for row in rows) and quoted is not None


def is_quoted_tab_table(text: str) -> bool:
    """A header and three rows of five fields with tabs between, each in double quotes."""
    rows = [line.split("\t") for line in text.strip().split("\n")]
    quoted = all(
        len(field.strip()) > 1 and field.strip()[0] == field.strip()[-1] == '"' for row in rows[1:] for field in row
    )
    header = [field.strip().strip('"') for field in rows[0]]
    return (
        header == ["StudentID", "Subject", "Grade", "Semester", "Score"]
        and len(rows) == 4
        and quoted
        and all(len(row) == 5 for row in rows)
    )


def is_list_of_dates(text: str) -> bool:
    """Dates of Napoleon's life (1769 to 1821) as YYYY-MM-DD, with commas between."""
    for entry in text.strip().split(","):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", entry.strip()):
            return False
        try:
            day = date.fromisoformat(entry.strip())
        except ValueError:
            return False
        if not 1769 <= day.year <= 1821:
            return False
    return True
