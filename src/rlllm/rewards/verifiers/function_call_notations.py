"""Find the function calls of a completion, in the notations in which models mark them.

What a marker encloses is read by `function_call_syntax`. Calls in two notations at once are none, as two different blocks are.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from rlllm.core.errors import ConfigError
from rlllm.rewards.verifiers.function_call_syntax import (
    Call,
    UnreadableError,
    Untyped,
    call_with,
    calls_in_block,
    calls_in_json,
)
from rlllm.rewards.verifiers.submissions import final_part, submission

_MOST_CALLS = 100
_LABELS = ("json", "python", "py", "tool_code", "tool_call")
_END_TOKENS = re.compile(
    r"(?:\s|<\|(?:eot_id|eom_id|im_end|end|endoftext|return|call|end_of_text|eot)\|>|</s>|<eos>|<end_of_turn>|<turn\|>"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>)+\Z"
)
_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>(.*?)</parameter>", re.DOTALL)
_INVOKE = re.compile(r"\s*<invoke name=\"([^\"\n]+)\">(.*?)</invoke>", re.DOTALL)
_NAMED_PARAMETER = re.compile(r"\s*<parameter name=\"([^\"\n]+)\"[^>\n]*>(.*?)</parameter>", re.DOTALL)
_KEY_AND_VALUE = re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_GLM = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*((?:<arg_key>.*)?)", re.DOTALL)
_DEEPSEEK = re.compile(
    r"(?:function)?(?:<\uff5ctool\u2581sep\uff5c>)?([\w.-]+)(?:<\uff5ctool\u2581sep\uff5c>|\s)\s*(.*)", re.DOTALL
)
_KIMI = re.compile(r"\s*(?:functions\.)?([\w.-]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>(.*)", re.DOTALL)
_GEMMA = re.compile(r"\s*call:([\w.-]+)\s*(\{.*\})\s*", re.DOTALL)
_GEMMA_QUOTE = re.compile(r"<escape>|<\|\"\|>")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.-]*)\s*:")
_MISTRAL_ID = re.compile(r"\[CALL_ID\][^\[{]*")
_GLAIVE = re.compile(r"""(\{\s*"name"\s*:\s*"[^"]*"\s*,\s*"arguments"\s*:\s*)('.*')\s*\}\s*""", re.DOTALL)
_REACT_END = re.compile(r"\n(?:Observation|Thought|Action|Final Answer):")


class _Notation(NamedTuple):
    """How a family of models marks its calls."""

    opener: re.Pattern[str]
    read: Callable[[str, str], list[Call]]
    """From the text that the opener's first group holds ("" without one) and the marked text to calls."""
    closer: re.Pattern[str] | None = None
    """None: the next opener or the end of the text closes."""
    may_stay_open: bool = False
    """Whether the end of the text may close as well."""


def read_calls(completion: str) -> list[Call]:
    """Every call of a completion, in order; at least one.

    Raises:
        UnreadableError: no call, calls in two notations, several different blocks of calls, positional arguments, or
            arguments that are no literals.
    """
    text = _END_TOKENS.sub("", final_part(completion))
    notations = _notations_in(text)
    if notations:
        calls = _marked_calls(text, notations[0])
    else:
        block = submission(text, _LABELS, other_labels=True)
        if block.text is None:
            raise UnreadableError(block.fault)
        calls = calls_in_block(block.text)
    if not calls:
        raise UnreadableError("no call")
    if len(calls) > _MOST_CALLS:
        raise UnreadableError(f"more than {_MOST_CALLS} calls")
    return calls


def templated_calls(model: str, completion: str) -> list[Call]:
    """The calls that the response template of a model's tokenizer finds; [] where it has none, or finds none.

    Args:
        model: folder or Hub id.
        completion: the whole text; special tokens may be missing in it.

    Raises:
        UnreadableError: what it finds is no call.
    """
    tokenizer = _templated_tokenizer(model)
    if tokenizer is None:
        return []
    try:
        message = tokenizer.parse_response(completion, prefix="")
    except (ValueError, TypeError, KeyError, LookupError):
        return []
    return calls_in_json(message["tool_calls"]) if message.get("tool_calls") else []


@cache
def _templated_tokenizer(model: str) -> Any:
    """The tokenizer, where it has a response template; else None.

    Raises:
        ConfigError: the tokenizer does not load, or its template is not usable.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the tokenizer of the reward calls does not load", given=model, hint="a folder or Hub id"
        ) from error
    if getattr(tokenizer, "response_template", None) is None:
        return None
    try:
        tokenizer.parse_response("", prefix="")
    except ValueError as error:
        raise ConfigError(f"the response template of the tokenizer is not usable: {error}", given=model) from error
    return tokenizer


def has_marker(completion: str) -> bool:
    """Whether the completion begins a call in one of the notations that mark calls."""
    return bool(_notations_in(final_part(completion)))


def _notations_in(text: str) -> list[_Notation]:
    """The notations whose openers stand in the text, in the order of their first one."""
    starts = [(match.start(), index) for index, kind in enumerate(_NOTATIONS) if (match := kind.opener.search(text))]
    return [_NOTATIONS[index] for _, index in sorted(starts)]


def _marked_calls(text: str, notation: _Notation) -> list[Call]:
    calls: list[Call] = []
    outside, position = [], 0
    while opener := notation.opener.search(text, position):
        outside.append(text[position : opener.start()])
        body_end, position = _end(text, opener.end(), notation)
        head = opener[1] if notation.opener.groups else ""
        calls += notation.read(head, text[opener.end() : body_end])
        if len(calls) > _MOST_CALLS:
            raise UnreadableError(f"more than {_MOST_CALLS} calls")
    if _notations_in("\n".join([*outside, text[position:]])):
        raise UnreadableError("calls in two notations")
    return calls


def _end(text: str, start: int, notation: _Notation) -> tuple[int, int]:
    """Where the marked text from `start` on ends, and where the text behind its closer begins.

    Raises:
        UnreadableError: it is not closed.
    """
    if notation.closer is not None and (closer := notation.closer.search(text, start)):
        return closer.start(), closer.end()
    if notation.closer is not None and not (notation.may_stay_open or text[start:].lstrip().startswith("[")):
        raise UnreadableError(f"a {notation.opener.pattern.replace(chr(92), '')} is not closed")
    following = notation.opener.search(text, start)
    end = following.start() if following else len(text)
    return end, end


def _block(_: str, body: str) -> list[Call]:
    return calls_in_block(body)


def _tagged(_: str, body: str) -> list[Call]:
    """The body of a `<tool_call>`: JSON (Hermes, Qwen 2.5 and 3), `<function=...>` (Qwen3-Coder), or keys and values (GLM)."""
    if "<function=" in body:
        return _functions(body)
    if (glm := _GLM.fullmatch(body)) and ("<arg_key>" in body or not glm[2]):
        return [Call(glm[1], _parameters(glm[2], _KEY_AND_VALUE))]
    return calls_in_block(body)


def _functions(body: str) -> list[Call]:
    return [call for head, inner in _pieces(body, _FUNCTION) for call in _function(head, inner)]


def _function(name: str, body: str) -> list[Call]:
    """`<function=NAME>` with a JSON object (Llama 3) or with parameters (Qwen3-Coder) in it."""
    arguments = body if body.strip().startswith("{") else _parameters(body, _PARAMETER)
    return [call_with(name.strip(), arguments)]


def _invokes(_: str, body: str) -> list[Call]:
    return [Call(name, _parameters(inner, _NAMED_PARAMETER)) for name, inner in _pieces(body, _INVOKE)]


def _parameters(body: str, pattern: re.Pattern[str]) -> dict[str, Untyped]:
    pairs = [(key.strip(), Untyped(_one_line_break_less(value))) for key, value in _pieces(body, pattern)]
    if len(dict(pairs)) < len(pairs):
        raise UnreadableError("a parameter stands twice")
    return dict(pairs)


def _one_line_break_less(value: str) -> str:
    """Without the line breaks that the notation puts around a value."""
    return value.removeprefix("\n").removesuffix("\n")


def _pieces(body: str, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """The groups of every match, where the matches are all that the body holds.

    Raises:
        UnreadableError: there is other text between them.
    """
    pieces, position = [], 0
    while match := pattern.match(body, position):
        pieces.append((match[1], match[2]))
        position = match.end()
    if body[position:].strip():
        raise UnreadableError(f"no call: {body[position:].strip()[:80]}")
    return pieces


def _python_tag(_: str, body: str) -> list[Call]:
    """Llama 3: JSON, several objects with semicolons between, or a built-in tool as `NAME.call(...)`."""
    return [Call(call.name.removesuffix(".call"), call.arguments) for call in calls_in_block(body)]


def _mistral(_: str, body: str) -> list[Call]:
    """A list of JSON, or `NAME[ARGS]{...}`, with or without an id of the call."""
    return calls_in_block(_MISTRAL_ID.sub("", body))


def _deepseek(_: str, body: str) -> list[Call]:
    match = _DEEPSEEK.fullmatch(body.strip())
    if match is None:
        raise UnreadableError(f"no call: {body.strip()[:80]}")
    return [call_with(match[1], match[2].strip().removeprefix("```json").removesuffix("```"))]


def _kimi(_: str, body: str) -> list[Call]:
    match = _KIMI.fullmatch(body)
    if match is None:
        raise UnreadableError(f"no call: {body.strip()[:80]}")
    return [call_with(match[1], match[2])]


def _harmony(name: str, body: str) -> list[Call]:
    return [call_with(name, body)]


def _gemma(_: str, body: str) -> list[Call]:
    """`call:NAME{key:value}`, keys without quotes and texts between `<escape>` or `<|"|>` (FunctionGemma, Gemma 4)."""
    match = _GEMMA.fullmatch(body)
    if match is None:
        raise UnreadableError(f"no call: {body.strip()[:80]}")
    pieces = _GEMMA_QUOTE.split(match[2])
    quoted = (json.dumps(text) if at % 2 else _BARE_KEY.sub(r'\1"\2":', text) for at, text in enumerate(pieces))
    return [call_with(match[1], "".join(quoted))]


def _glaive(_: str, body: str) -> list[Call]:
    """JSON whose arguments are JSON in single quotes."""
    match = _GLAIVE.fullmatch(body.strip())
    if match is None:
        return calls_in_block(body)
    try:
        name = ast.literal_eval(match[1].partition(":")[2].rpartition(",")[0].strip())
        return [call_with(name, match[2][1:-1])]
    except (ValueError, SyntaxError) as error:
        raise UnreadableError(f"no call: {body.strip()[:80]}") from error


def _react(name: str, body: str) -> list[Call]:
    """ReAct: the name behind `Action:`, an object behind `Action Input:`."""
    block = submission(body, _LABELS, other_labels=True)
    text = block.text or ""
    return [call_with(name.strip(), text)] if text.startswith("{") else _no_object(name)


def _no_object(name: str) -> list[Call]:
    raise UnreadableError(f"the arguments of {name.strip()[:80]} are no object")


def _tag(
    opener: str, closer: str, read: Callable[[str, str], list[Call]] = _block, *, may_stay_open: bool = False
) -> _Notation:
    return _Notation(re.compile(re.escape(opener)), read, re.compile(re.escape(closer)), may_stay_open)


_NOTATIONS: tuple[_Notation, ...] = (
    _tag("<tool_call>", "</tool_call>", _tagged),
    _Notation(re.compile(r"<function=([^>\n]+)>"), _function, re.compile("</function>")),
    _tag("<tool_calls>", "</tool_calls>"),
    _tag("<|tool_call|>", "<|/tool_call|>", may_stay_open=True),
    _tag("<|tool_call_start|>", "<|tool_call_end|>"),
    _tag("<|python_start|>", "<|python_end|>"),
    _tag("<|START_ACTION|>", "<|END_ACTION|>"),
    _tag("<|action_start|><|plugin|>", "<|action_end|>"),
    _tag("<start_function_call>", "<end_function_call>", _gemma, may_stay_open=True),
    _tag("<|tool_call>", "<tool_call|>", _gemma, may_stay_open=True),
    _Notation(re.compile(r"\bfunctools(?=\[)"), _block),
    _tag("<tool_code>", "</tool_code>"),
    _tag("<TOOLCALL>", "</TOOLCALL>"),
    _tag("<tools>", "</tools>"),
    _tag("<function_call>", "</function_call>", _glaive, may_stay_open=True),
    _tag("<functioncall>", "</functioncall>", _glaive, may_stay_open=True),
    _tag("<function_calls>", "</function_calls>", _invokes),
    _tag("<minimax:tool_call>", "</minimax:tool_call>", _invokes),
    _tag("<\uff5ctool\u2581call\u2581begin\uff5c>", "<\uff5ctool\u2581call\u2581end\uff5c>", _deepseek),
    _tag("<|tool_call_begin|>", "<|tool_call_end|>", _kimi),
    _Notation(re.compile(r"<\|python_tag\|>"), _python_tag, re.compile(r"<\|(?:eot|eom)_id\|>"), may_stay_open=True),
    _Notation(re.compile(r"\[TOOL_CALLS\]"), _mistral),
    _Notation(
        re.compile(r"\bto=functions\.([\w.-]+)[^{}\n]*?<\|message\|>"),
        _harmony,
        re.compile(r"<\|call\|>"),
        may_stay_open=True,
    ),
    _Notation(re.compile(r"^Action:\s*```json$", re.MULTILINE), _block, re.compile(r"^```", re.MULTILINE)),
    _Notation(
        re.compile(r"^Action:[ \t]*([\w.-]+)[ \t]*\n+Action Input:", re.MULTILINE),
        _react,
        _REACT_END,
        may_stay_open=True,
    ),
)
"""In this order the first one counts, where two begin at the same place."""
