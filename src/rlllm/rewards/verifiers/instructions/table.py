"""Instruction id to check, for the 25 instructions of the published rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rlllm.rewards.verifiers.instructions import structure, surface, words

Check = Callable[..., bool | None]

CHECKS: Mapping[str, Check] = {
    "keywords:existence": words.has_keywords,
    "keywords:forbidden_words": words.has_no_forbidden_words,
    "keywords:frequency": words.has_keyword_frequency,
    "keywords:letter_frequency": words.has_letter_frequency,
    "language:response_language": surface.is_in_language,
    "length_constraints:number_words": words.has_word_count,
    "length_constraints:number_sentences": words.has_sentence_count,
    "length_constraints:number_paragraphs": words.has_paragraph_count,
    "length_constraints:nth_paragraph_first_word": words.has_first_word,
    "detectable_content:postscript": structure.has_postscript,
    "detectable_content:number_placeholders": structure.has_placeholders,
    "detectable_format:number_bullet_lists": structure.has_bullets,
    "detectable_format:number_highlighted_sections": structure.has_highlights,
    "detectable_format:multiple_sections": structure.has_sections,
    "detectable_format:json_format": structure.is_json,
    "detectable_format:title": structure.has_title,
    "detectable_format:constrained_response": structure.is_constrained_response,
    "combination:two_responses": surface.has_two_responses,
    "combination:repeat_prompt": surface.repeats_prompt,
    "change_case:capital_word_frequency": surface.has_capital_words,
    "change_case:english_capital": surface.is_english_in_capitals,
    "change_case:english_lowercase": surface.is_english_in_small_letters,
    "startend:end_checker": surface.ends_with,
    "startend:quotation": surface.is_quoted,
    "punctuation:no_comma": surface.has_no_comma,
}
