"""Function calls: every notation, what matches, and calls that would do harm if anyone ran them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.function_calls import Calls

WEATHER = [{"weather": {"city": ["San Francisco", "SF"], "days": [3], "unit": ["celsius", ""]}}]
RIGHT = {"name": "weather", "arguments": {"city": "SF", "days": 3}}


def value(completion: str, expected: Any = WEATHER, **settings: Any) -> float | None:
    return Calls(**settings)(Sample("q", completion, None, {"ground_truth": expected})).value


NOTATIONS = [
    # completion, value
    (f"<tool_call>{json.dumps(RIGHT)}</tool_call>", 1.0),
    (f"I look it up.\n<tool_call>\n{json.dumps(RIGHT)}\n</tool_call>\n", 1.0),
    (json.dumps(RIGHT), 1.0),
    (json.dumps([RIGHT]), 1.0),
    (f"```json\n{json.dumps(RIGHT)}\n```", 1.0),
    (json.dumps({"name": "weather", "parameters": {"city": "SF", "days": 3}}), 1.0),
    (
        json.dumps(
            {"tool_calls": [{"type": "function", "function": {**RIGHT, "arguments": '{"city":"SF","days":3}'}}]}
        ),
        1.0,
    ),
    ("weather(city='SF', days=3)", 1.0),
    ("[weather(city='San Francisco', days=3, unit='celsius')]", 1.0),
    ("```python\nweather(city='SF', days=3)\n```", 1.0),
    ("<think>weather(city='LA')</think>weather(city='SF', days=3)", 1.0),
    ("weather(city='san-francisco', days=3.0)", 1.0),
    ("weather(city='SF', days=3, unit='')", 1.0),
    ("weather(city='SF')", 0.0),
    ("weather(city='SF', days=4)", 0.0),
    ("weather(city='SF', days='3')", 0.0),
    ("weather(city='SF', days=True)", 0.0),
    ("weather(city='SF', days=3, unit='kelvin')", 0.0),
    ("weather(city='SF', days=3, extra=1)", 0.0),
    ("forecast(city='SF', days=3)", 0.0),
    ("x.weather(city='SF', days=3)", 0.0),
    ("weather('SF', 3)", 0.0),
    ("weather(**{'city': 'SF', 'days': 3})", 0.0),
    ("weather(city='SF', days=3)\nweather(city='SF', days=3)", 0.0),
    ("weather(city='SF', days=3) or weather(city='LA', days=3)", 0.0),
    ("result = weather(city='SF', days=3)", 0.0),
    (f"<tool_call>{json.dumps(RIGHT)}", 0.0),
    (f"<tool_call>{json.dumps(RIGHT)}</tool_call><tool_call>{{</tool_call>", 0.0),
    ('{"name": "weather", "arguments": {"city": "LA", "city": "SF", "days": 3}}', 0.0),
    ('{"name": "weather", "arguments": []}', 0.0),
    ('{"name": 3}', 0.0),
    ("null", 0.0),
    ("The weather is nice.", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("completion", "wanted"), NOTATIONS)
def test_a_call_is_read_and_matched(completion: str, wanted: float) -> None:
    assert value(completion) == wanted


ARGUMENTS = '{"city": "SF", "days": 3}'
XML = "<parameter=city>\nSF\n</parameter>\n<parameter=days>\n3\n</parameter>"
DEEPSEEK_BEGIN, DEEPSEEK_SEPARATOR, DEEPSEEK_END = (
    f"<\uff5ctool\u2581{word}\uff5c>" for word in ("call\u2581begin", "sep", "call\u2581end")
)
MODEL_NOTATIONS = {
    "llama 3": f'<|python_tag|>{{"name": "weather", "parameters": {ARGUMENTS}}}<|eom_id|>',
    "llama 3, no token": f'{{"name": "weather", "parameters": {ARGUMENTS}}}<|eot_id|>',
    "llama 3, eot": f'<|python_tag|>{{"name": "weather", "parameters": {ARGUMENTS}}}<|eot_id|>',
    "llama 3, no tag": f'{{"name": "weather", "parameters": {ARGUMENTS}}}<|eom_id|>',
    "llama 3, went on": f'<|python_tag|>{{"name": "weather", "parameters": {ARGUMENTS}}}<|eom_id|>It is sunny.<|eot_id|>',
    "llama 3, built-in eom": '<|python_tag|>weather.call(city="SF", days=3)<|eom_id|>',
    "functiongemma": "<start_function_call>call:weather{city:<escape>SF<escape>,days:3}<end_function_call>",
    "gemma 4": '<|tool_call>call:weather{city:<|"|>SF<|"|>,days:3}<tool_call|>',
    "firefunction": f" functools[{json.dumps(RIGHT)}]",
    "tool code": '<tool_code>weather(city="SF", days=3)</tool_code>',
    "llama 3, built-in": '<|python_tag|>weather.call(city="SF", days=3)',
    "llama 3, own": f"<function=weather>{ARGUMENTS}</function>",
    "llama 4": '<|python_start|>[weather(city="SF", days=3)]<|python_end|>',
    "mistral": f'[TOOL_CALLS][{{"name": "weather", "arguments": {ARGUMENTS}}}]</s>',
    "mistral, words before": f'I look.[TOOL_CALLS] [{{"name": "weather", "arguments": {ARGUMENTS}, "id": "abc123xyz"}}]',
    "mistral 3": f"[TOOL_CALLS]weather[ARGS]{ARGUMENTS}</s>",
    "mistral 3, id": f"[TOOL_CALLS]weather[CALL_ID]abc123xyz[ARGS]{ARGUMENTS}",
    "mistral 3, no token": f"weather{ARGUMENTS}",
    "qwen 3": f"<think>\nThe city?\n</think>\n\n<tool_call>\n{json.dumps(RIGHT)}\n</tool_call><|im_end|>",
    "qwen 3 coder": f"<tool_call>\n<function=weather>\n{XML}\n</function>\n</tool_call>",
    "qwen 3 coder, no tag": f"<function=weather>\n{XML}\n</function>",
    "qwen 2.5 coder": f"<tools>\n{json.dumps(RIGHT)}\n</tools>",
    "glm": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>SF</arg_value>\n<arg_key>days</arg_key>\n"
    "<arg_value>3</arg_value>\n</tool_call>",
    "deepseek": f"<\uff5ctool\u2581calls\u2581begin\uff5c>{DEEPSEEK_BEGIN}function{DEEPSEEK_SEPARATOR}weather\n"
    f"```json\n{ARGUMENTS}\n```{DEEPSEEK_END}<\uff5ctool\u2581calls\u2581end\uff5c>",
    "deepseek 3.1": f"{DEEPSEEK_BEGIN}weather{DEEPSEEK_SEPARATOR}{ARGUMENTS}{DEEPSEEK_END}",
    "kimi": f"<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{ARGUMENTS}<|tool_call_end|>",
    "gpt-oss": f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{ARGUMENTS}<|call|>",
    "phi": f"<|tool_call|>[{json.dumps(RIGHT)}]<|/tool_call|>",
    "granite": f"<|tool_call|>[{json.dumps(RIGHT)}]",
    "granite 3.1": f"<tool_call>[{json.dumps(RIGHT)}]",
    "cohere": f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "weather", "parameters": {ARGUMENTS}}}]<|END_ACTION|>',
    "cohere r": f'Action: ```json\n[{{"tool_name": "weather", "parameters": {ARGUMENTS}}}]\n```',
    "minimax": '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">SF</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    "lfm": '<|tool_call_start|>[weather(city="SF", days=3)]<|tool_call_end|>',
    "internlm": f'<|action_start|><|plugin|>{{"name": "weather", "parameters": {ARGUMENTS}}}<|action_end|>',
    "nemotron": f"<TOOLCALL>[{json.dumps(RIGHT)}]</TOOLCALL>",
    "glaive": f"""<functioncall> {{"name": "weather", "arguments": '{ARGUMENTS}'}}""",
    "react": f"Thought: I need it.\nAction: weather\nAction Input: {ARGUMENTS}",
    "react, fenced": f"Action: weather\nAction Input:\n```json\n{ARGUMENTS}\n```\nObservation: sunny",
    "react, langchain": f'```json\n{{"action": "weather", "action_input": {ARGUMENTS}}}\n```',
    "gemma": '```tool_code\nweather(city="SF", days=3)\n```',
}


@pytest.mark.parametrize("notation", MODEL_NOTATIONS)
def test_the_notations_of_models_are_read(notation: str) -> None:
    completion = MODEL_NOTATIONS[notation]
    assert value(completion) == 1.0
    assert value(completion.replace("SF", "LA")) == 0.0
    assert value(completion.replace("3", "4")) == 0.0
    assert value(completion.replace("weather", "forecast")) == 0.0
    assert value(completion, []) == 0.0


@pytest.mark.parametrize(
    "notation", ["mistral 3", "qwen 3", "qwen 3 coder", "glm", "deepseek 3.1", "kimi", "gpt-oss", "react"]
)
def test_two_calls_are_two(notation: str) -> None:
    completion = MODEL_NOTATIONS[notation].rpartition("</think>")[2].replace("<|im_end|>", "").replace("</s>", "")
    assert value(f"{completion}\n{completion}") == 0.0
    assert value(f"{completion}\n{completion}", WEATHER * 2) == 1.0


def test_objects_in_a_row_are_calls() -> None:
    call = json.dumps(RIGHT)
    for between in ("; ", "\n", ", "):
        assert value(f"<|python_tag|>{call}{between}{call}", WEATHER * 2) == 1.0
        assert value(f"{call}{between}{call}") == 0.0


BROKEN_NOTATIONS = [
    f"<tool_call>{json.dumps(RIGHT)}</tool_call>[TOOL_CALLS][{json.dumps(RIGHT)}]",
    f"[TOOL_CALLS]weather{ARGUMENTS}\nAction: forecast\nAction Input: {{}}",
    f"<tool_call><function=weather>{XML}</tool_call>",
    f"<tool_call><function=weather>{XML}</function> and more</tool_call>",
    f"<function=weather>{XML}",
    "<function=weather>\n<parameter=city>\nSF\n</parameter>\n<parameter=city>\nLA\n</parameter>\n</function>",
    "Action: weather\nAction Input: SF, 3",
    "Action: weather",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[TOOL_CALLS]weather",
    f"<tool_call>weather{ARGUMENTS[:-1]}</tool_call>",
    f"{DEEPSEEK_BEGIN}weather{DEEPSEEK_SEPARATOR}{ARGUMENTS}",
]


@pytest.mark.parametrize("completion", BROKEN_NOTATIONS)
def test_calls_in_two_notations_or_broken_ones_are_wrong(completion: str) -> None:
    assert value(completion) == 0.0
    assert value(completion, []) == (1.0 if completion == "Action: weather" else 0.0)


def test_bare_text_may_be_the_text_or_the_value() -> None:
    written = "<function=f>\n<parameter=x>\n{}\n</parameter>\n</function>"
    for text, allowed in [
        ("3", 3),
        ("3", "3"),
        ("True", True),
        ("true", True),
        ("None", None),
        ('["a", 1]', ["a", 1]),
        ("a b", "a b"),
    ]:
        assert value(written.format(text), [{"f": {"x": [allowed]}}]) == 1.0
    for text, allowed in [("3", 4), ("3", True), ("x", None), ("1", True), ('["a"]', ["a", 1])]:
        assert value(written.format(text), [{"f": {"x": [allowed]}}]) == 0.0


XLAM = [{"name": "f", "arguments": {"tags": ["a", "b"], "box": {"w": [1, 2]}, "n": 3}}]
OPENAI = {
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": json.dumps(XLAM[0]["arguments"])}}]
}
REFERENCES = [
    XLAM,
    XLAM[0],
    json.dumps(XLAM),
    OPENAI,
    json.dumps(OPENAI),
    f"<tool_call>{json.dumps(XLAM[0])}</tool_call>",
    "[f(tags=['a', 'b'], box={'w': [1, 2]}, n=3)]",
    ["f(tags=['a', 'b'], box={'w': [1, 2]}, n=3)"],
    [json.dumps(XLAM[0])],
    {"target": [json.dumps(XLAM[0])]},
    str(XLAM),
    json.dumps(json.dumps(XLAM)),
    [{"tool": "f", "args": XLAM[0]["arguments"]}],
    [{"function": "f", "parameters": XLAM[0]["arguments"]}],
    [{"name": "f", "arguments": {**XLAM[0]["arguments"], "padding": None}}],
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_of_calls_allows_just_its_values(reference: Any) -> None:
    assert value("f(tags=['a', 'b'], box={'w': [1, 2]}, n=3)", reference) == 1.0
    for wrong in (
        "f(tags='a', box={'w': [1, 2]}, n=3)",
        "f(tags=['a', 'b'], box={'w': 1}, n=3)",
        "f(tags=['a', 'b'], n=3)",
        "f(tags=['a', 'b'], box={'w': [1, 2]}, n=3, m=1)",
    ):
        assert value(wrong, reference) == 0.0


def test_the_column_answers_of_xlam_is_read() -> None:
    assert Calls()(Sample("q", "g()", None, {"answers": '[{"name": "g", "arguments": {}}]'})).value == 1.0
    assert Calls()(Sample("q", "I cannot help.", None, {"answers": "[]"})).value == 1.0


def test_a_list_of_texts_expects_all_of_its_calls() -> None:
    for expected in (["f(x=1)", "g(y=2)"], '["f(x=1)", "g(y=2)"]', '{"target": ["f(x=1)", "g(y=2)"]}'):
        assert value("f(x=1)\ng(y=2)", expected) == 1.0
        assert value("f(x=1)", expected) == 0.0
        assert value("f(x=1)\ng(y=3)", expected) == 0.0


def test_a_null_of_a_reference_may_be_given_or_left_out() -> None:
    expected = [{"name": "f", "arguments": {"x": 1, "y": None}}]
    assert value("f(x=1)", expected) == value("f(x=1, y=None)", expected) == 1.0
    assert value("f(x=1, y=2)", expected) == 0.0


def test_an_object_with_a_tool_but_no_arguments_is_no_call() -> None:
    assert value('{"tool": "hammer"}', []) == 1.0


def test_the_expectation_may_stand_where_verl_keeps_it() -> None:
    row = {"reward_model": {"style": "rule", "ground_truth": []}}
    assert Calls()(Sample("q", "I cannot help.", None, row)).value == 1.0
    assert Calls()(Sample("q", "g()", None, row)).value == 0.0


def test_arguments_may_be_missing_or_null() -> None:
    for call in ('{"name": "g"}', '{"name": "g", "arguments": null}', '{"name": "g", "arguments": ""}'):
        assert value(call, [{"g": {}}]) == 1.0
        assert value(call, [{"g": {"x": [1]}}]) == 0.0


def test_a_function_may_be_called_name() -> None:
    assert value("name(x=1)", [{"name": {"x": [1, 2]}}]) == 1.0


def test_the_template_of_a_tokenizer_reads_calls(tmp_path: Path) -> None:
    from rlllm.policies.model_sources import NANO

    for file in NANO.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    template = {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "tool_calls": {"open": "@@call ", "close_pattern": "@@end", "repeats": True, "content": "json"},
            "content": {"content": "text"},
        },
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "response_template": template}))
    assert value(f"@@call {json.dumps(RIGHT)}@@end") == 0.0
    assert value(f"@@call {json.dumps(RIGHT)}@@end", tokenizer=str(tmp_path)) == 1.0
    assert value(MODEL_NOTATIONS["mistral"], tokenizer=str(tmp_path)) == 1.0
    assert value(MODEL_NOTATIONS["mistral"], tokenizer=str(NANO)) == 1.0
    with pytest.raises(ConfigError, match="does not load"):
        value("g()", tokenizer=str(tmp_path / "missing"))


def test_nothing_in_an_argument_is_ever_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    harm = f"__import__('pathlib').Path({str(target)!r}).touch()"
    for attack in (harm, f"weather(city={harm}, days=3)", f"[{harm}]", f"weather(city=f'{{{harm}}}', days=3)"):
        assert value(attack) == 0.0
    assert not target.exists()


NESTED = [{"f": {"box": [{"w": [1, 2], "h": [3, ""]}], "tags": [["a", "b"]], "none": [None], "on": [True]}}]


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("f(box={'w': 2}, tags=['A', 'b'], none=None, on=True)", 1.0),
        ("f(box={'w': 2, 'h': 3}, tags=('a', 'b'), none=None, on=True)", 1.0),
        ("f(box={'w': 2, 'h': 4}, tags=['a', 'b'], none=None, on=True)", 0.0),
        ("f(box={'h': 3}, tags=['a', 'b'], none=None, on=True)", 0.0),
        ("f(box={'w': 2}, tags=['b', 'a'], none=None, on=True)", 0.0),
        ("f(box={'w': 2}, tags=['a', 'b'], none='', on=True)", 0.0),
        ("f(box={'w': 2}, tags=['a', 'b'], none=None, on=1)", 0.0),
    ],
)
def test_lists_and_objects_are_matched_inside(completion: str, wanted: float) -> None:
    assert value(completion, NESTED) == wanted


PARALLEL = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}, {"g": {}}]


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("f(x=1)\nf(x=2)\ng()", 1.0),
        ("[g(), f(x=2), f(x=1)]", 1.0),
        ("[f(x=1), f(x=1), g()]", 1.0),
        ("[f(x=2), f(x=2), g()]", 0.0),
        ("[f(x=1), f(x=2)]", 0.0),
        ("[f(x=1), f(x=2), g(), g()]", 0.0),
    ],
)
def test_parallel_calls_are_matched_as_a_multiset(completion: str, wanted: float) -> None:
    assert value(completion, PARALLEL) == wanted


def test_strings_can_be_compared_as_they_are() -> None:
    assert value("weather(city='sf', days=3)", exact=True) == 0.0
    assert value("weather(city='SF', days=3)", exact=True) == 1.0


def test_where_no_call_is_expected_words_are_wanted() -> None:
    assert value("There is no function for that.", []) == 1.0
    assert value("", []) == 0.0
    assert value("weather(city='SF')", []) == 0.0
    assert value("<tool_call>{</tool_call>", []) == 0.0


def test_the_answer_may_hold_the_expectation_as_json() -> None:
    assert Calls()(Sample("q", "g()", '[{"g": {}}]')).value == 1.0


@pytest.mark.parametrize("expected", [None, "{", 3, [3], [{"f": 1}], [{"f": {}, "g": {}}], ["x"]])
def test_an_unreadable_expectation_cannot_judge(expected: Any) -> None:
    assert value("f()", expected) is None


ATTACKS = [
    "[" * 40_000,
    "f(" * 20_000,
    "f(x=" + "-" * 40_000 + "1)",
    "a." * 20_000 + "f()",
    "f(x=" + "9" * 40_000 + ")",
]


@pytest.mark.parametrize(
    "completion",
    [
        *ATTACKS,
        "<tool_call>" * 20_000,
        "f()\n" * 1_000,
        "f()\n" * 100_000,
        "f(x={[]: 1})",
        "f(x={{}})",
        "f(x='\\ud800')",
        "\x00",
    ],
)
def test_odd_and_huge_texts_are_wrong(completion: str) -> None:
    assert value(completion) == 0.0


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["weather", "(", ")", "city=", "'SF'", ",", "{", "}", '"name":', "1"])).map("".join)
)
def test_any_text_is_right_or_wrong(completion: str) -> None:
    assert value(completion) in (0.0, 1.0)
