"""What the layout fixtures have to give: fixture, record type, layout, fields of each record but `meta`, columns in `meta`."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
)

ASK = "Answer with the letter of one option."


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


BRIEF = {"role": "system", "content": "Be brief."}
SUM, SHELF = "What is the sum of the first 8 positive integers?", "In how many ways can 3 books stand on a shelf?"
DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)
HASHES = 'Let\'s think step by step and output the final answer after "####".'
STEPWISE = (
    ["Multiply first: 3 * 4 = 12.", "So 2 + 12 = 15."],
    ["Multiply first: 3 * 4 = 12.", "Then add 2.", "That is 15."],
    ["Multiply first: 3 * 4 = 12.", "Then add 2.", "That is 14."],
)
HELPSTEER_META = [
    f"{score}_{side}"
    for score in ("coherence", "complexity", "correctness", "helpfulness", "verbosity")
    for side in ("chosen", "rejected")
]
EXPECTED: list[tuple[str, type[Record], str | None, list[tuple[Any, ...]], list[str]]] = [
    (
        "trl_language_modeling",
        Conversation,
        None,
        [("", "The tide turned at noon."), ("", "Two boats lay on the sand.")],
        [],
    ),
    (
        "trl_messages",
        Conversation,
        None,
        [([user("Name a gas.")], "Neon."), ([BRIEF, user("Name a metal.")], "Iron.")],
        [],
    ),
    ("trl_prompt_only", PromptTask, None, [("Name a river.", None), ([user("Name a lake.")], None)], []),
    ("trl_prompt_completion", Conversation, None, [("The sky is", " blue."), ([user("2 + 2?")], "4")], []),
    (
        "trl_preference",
        PreferencePair,
        None,
        [("The sky is", " blue.", " green.", None), ([user("2 + 2?")], "4", "5", None)],
        [],
    ),
    (
        "trl_implicit_preference",
        PreferencePair,
        None,
        [([user("2 + 2?")], "4", "5", None), ([user("3 + 3?")], "6", "7", None)],
        [],
    ),
    (
        "trl_unpaired",
        LabelledCompletion,
        None,
        [("The sky is", " blue.", True), ([user("2 + 2?")], "5", False)],
        [],
    ),
    (
        "trl_stepwise",
        StepwiseSolution,
        None,
        [
            ("2 + 3 * 4?", ["3 * 4 = 12", "2 + 12 = 14"], [True, True]),
            ("(2 + 3) * 4?", ["2 + 3 = 6", "6 * 4 = 24"], [False, False]),
        ],
        [],
    ),
    ("alpaca", Conversation, "alpaca", [("Add the numbers.\n\n2 and 2", "4"), ("Name a prime.", "7")], ["text"]),
    ("alpaca", PromptTask, "alpaca", [("Add the numbers.\n\n2 and 2", "4"), ("Name a prime.", "7")], ["text"]),
    (
        "alpaca_chat",
        Conversation,
        "alpaca-chat",
        [
            ([BRIEF, user("The capital of France?"), assistant("Paris."), user("And of Spain?")], "Madrid."),
            ("Name a prime.\n\nbelow 10", "7"),
        ],
        [],
    ),
    (
        "sharegpt",
        Conversation,
        "sharegpt",
        [([user("Hi.")], "Hello."), ([BRIEF, user("2 + 2?"), assistant("4"), user("And 3 + 3?")], "6")],
        ["id"],
    ),
    (
        "sharegpt_pairs",
        PreferencePair,
        "sharegpt-pairs",
        [([user("2 + 2?")], "4", "5", None), ([BRIEF, user("3 + 3?")], "6", "33", None)],
        [],
    ),
    (
        "verl",
        PromptTask,
        "verl",
        [
            ([user(f"Tom has 3 pens and buys 4. How many? {HASHES}")], "7"),
            ([user(f"Ann has 9 pears and eats 2. How many? {HASHES}")], "7"),
        ],
        ["ability", "data_source", "extra_info", "reward_model"],
    ),
    (
        "dapo",
        PromptTask,
        "dapo",
        [([user(DAPO.format(SHELF))], "6"), ([user(DAPO.format(SUM))], "36")],
        ["ability", "data_source", "extra_info", "reward_model"],
    ),
    (
        "dapo_processed",
        PromptTask,
        "dapo-processed",
        [(SHELF, "6"), (SUM, "36")],
        ["ability", "data_source", "extra_info", "reward_model", "source_prompt"],
    ),
    ("openrlhf", PromptTask, "openrlhf", [("What is 6 * 7?", "42"), ("What is 2 ** 5?", "32")], []),
    (
        "openrlhf_prompts",
        PromptTask,
        "openrlhf",
        [([user("Name a moon.")], None), ([BRIEF, user("Name a star.")], None)],
        ["context", "dataset", "id"],
    ),
    ("openrlhf_sft", Conversation, None, [("Name a moon.", "Titan."), ("Name a star.", "Vega.")], []),
    (
        "hh_rlhf",
        PreferencePair,
        "hh-rlhf",
        [
            (
                "\n\nHuman: How do I boil an egg?\n\nAssistant:",
                " Put it in boiling water for 8 minutes.",
                " I do not know.",
                None,
            ),
            ("\n\nHuman: Hi.\n\nAssistant: Hello!\n\nHuman: Tell a fact.\n\nAssistant:", " Bees dance.", " No.", None),
        ],
        [],
    ),
    (
        "ultrafeedback_binarized",
        PreferencePair,
        "ultrafeedback-binarized",
        [
            ([user("Why is the sky blue?")], "Air scatters blue light most.", "It is paint.", 5.5),
            ([user("Name a prime.")], "7", "11", 0.0),
        ],
        ["messages", "prompt_id", "score_chosen", "score_rejected"],
    ),
    (
        "ultrafeedback",
        PreferencePair,
        "ultrafeedback",
        [("Name a prime.", "7", "8", 7.5)],
        [
            *("correct_answers", "incorrect_answers", "model_chosen", "model_rejected", "models"),
            *("score_chosen", "score_rejected", "source"),
        ],
    ),
    (
        "helpsteer2",
        PreferencePair,
        "helpsteer2",
        [("What is C#?", "A programming language.", "A music note.", 3.0)],
        HELPSTEER_META,
    ),
    (
        "helpsteer2_preference",
        PreferencePair,
        "helpsteer2-preference",
        [("Name a prime.", "7", "9", 3.0), ("Name a gas.", "Neon", "Gold", 2.0)],
        [
            *("all_preferences_unprocessed", "preference_elaboration", "preference_statement", "preference_strength"),
            *("split", "three_most_similar_preferences"),
        ],
    ),
    (
        "helpsteer3",
        PreferencePair,
        "helpsteer3",
        [([user("Hi."), assistant("Hello!"), user("Name a gas.")], "Neon", "Gold", 1.0)],
        ["domain", "individual_preference", "language", "overall_preference"],
    ),
    (
        "prm800k",
        StepwiseSolution,
        "prm800k",
        [
            ("What is 2 + 3 * 4?", STEPWISE[0], [True, False]),
            ("What is 2 + 3 * 4?", STEPWISE[1], [True, True, False]),
            ("What is 2 + 3 * 4?", STEPWISE[2], [True, True, True]),
            ("What is 10 / 4?", ["10 / 4 = 3."], [False]),
        ],
        [
            "answer",
            "generation",
            "is_initial_screening_question",
            "is_quality_control_question",
            "labeler",
            "timestamp",
        ],
    ),
    (
        "math_shepherd",
        StepwiseSolution,
        "math-shepherd",
        [
            (
                "Tom has 3 pens and buys 4. How many?",
                ["Step 1: He has 3 + 4 = 7 pens.", "Step 2: The answer is: 7"],
                [True, True],
            ),
            ("What is $3^2$?", ["Step 1: $3^2 = 6$", "Step 2: The answer is: 6"], [False, False]),
        ],
        ["task"],
    ),
    (
        "math_shepherd",
        PromptTask,
        "math-shepherd",
        [("Tom has 3 pens and buys 4. How many?", None), ("What is $3^2$?", None)],
        ["task"],
    ),
    (
        "gsm8k",
        PromptTask,
        "gsm8k",
        [
            ("A crate holds 36 eggs. How many are in 2 crates?", "72"),
            ("A firm sells 1,000 cups and 72 jars. How many things?", "1072"),
        ],
        ["answer"],
    ),
    (
        "math",
        PromptTask,
        "math",
        [("What is $\\frac{1}{2} + \\frac{1}{4}$?", "\\frac{3}{4}"), ("Solve $x - 3 = 4$.", "7")],
        ["level", "solution", "type"],
    ),
    (
        "deepmath",
        PromptTask,
        "deepmath",
        [("Evaluate $\\lim_{x \\to 0} \\frac{\\sin x}{x}$.", "1"), ("Is every bounded sequence convergent?", "No")],
        ["difficulty", "r1_solution_1", "r1_solution_2", "r1_solution_3", "topic"],
    ),
    (
        "deepmath",
        Conversation,
        "deepmath",
        [
            ("Evaluate $\\lim_{x \\to 0} \\frac{\\sin x}{x}$.", "By the series, it is 1."),
            ("Evaluate $\\lim_{x \\to 0} \\frac{\\sin x}{x}$.", "By l'Hopital, it is 1."),
            ("Evaluate $\\lim_{x \\to 0} \\frac{\\sin x}{x}$.", "By squeezing, it is 1."),
            ("Is every bounded sequence convergent?", "(-1)^n is bounded and diverges, so no."),
            ("Is every bounded sequence convergent?", "No."),
        ],
        ["answer", "difficulty", "topic"],
    ),
    (
        "apps",
        Conversation,
        "apps",
        [
            (
                "Read two integers and print their sum.\n\n-----Input-----\n\nOne line with two integers.",
                "print(sum(map(int, input().split())))\n",
            ),
            ("Return the square of a number.\n\ndef square(n):\n\t", "def square(n):\n    return n * n"),
        ],
        ["difficulty", "input_output", "problem_id", "solutions", "starter_code", "url"],
    ),
    (
        "humaneval",
        Conversation,
        "humaneval",
        [
            ('def add(a, b):\n    """Sum of a and b."""\n', "    return a + b\n"),
            ('def neg(a):\n    """Minus a."""\n', "    return -a\n"),
        ],
        ["entry_point", "task_id", "test"],
    ),
    (
        "mbpp",
        PromptTask,
        "mbpp",
        [
            (
                "Write a function to double a number.\n\nYour code should pass these tests:\n\n"
                "assert double(2) == 4\nassert double(0) == 0",
                None,
            ),
            (
                "Write a function to find the first letter.\n\nYour code should pass these tests:\n\n"
                "assert first('ab') == 'a'",
                None,
            ),
        ],
        ["challenge_test_list", "code", "task_id", "test_list", "test_setup_code"],
    ),
    (
        "mbpp_sanitized",
        Conversation,
        "mbpp",
        [
            (
                "Write a function to find the shared elements.\n\nYour code should pass these tests:\n\n"
                "assert shared((1, 2), (2, 3)) == {2}",
                "def shared(a, b):\n    return set(a) & set(b)",
            ),
            (
                "Write a function to test for primes.\n\nYour code should pass these tests:\n\n"
                "assert prime(7)\nassert not prime(8)",
                "import math\ndef prime(n):\n    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))",
            ),
        ],
        ["source_file", "task_id", "test_imports", "test_list"],
    ),
    (
        "arc",
        PromptTask,
        "arc",
        [
            (f"Which is a gas?\n\nA. iron\nB. neon\nC. salt\n\n{ASK}", "B"),
            (f"How many legs has an ant?\n\nA. 4\nB. 6\nC. 8\nD. 10\n\n{ASK}", "B"),
        ],
        ["choices", "id"],
    ),
    (
        "commonsense_qa",
        PromptTask,
        "arc",
        [
            (f"Where do you keep milk cold?\n\nA. oven\nB. fridge\nC. shoe\nD. lamp\nE. car\n\n{ASK}", "B"),
            (f"What do you cut with?\n\nA. knife\nB. soap\nC. milk\nD. sand\nE. glue\n\n{ASK}", "A"),
        ],
        ["choices", "id", "question_concept"],
    ),
    (
        "mmlu",
        PromptTask,
        "mmlu",
        [
            (f"What is 2 + 2?\n\nA. 1\nB. 4\nC. 3\nD. 2\n\n{ASK}", "B"),
            (f"Which planet is largest?\n\nA. Mars\nB. Venus\nC. Earth\nD. Jupiter\n\n{ASK}", "D"),
        ],
        ["choices", "subject"],
    ),
    (
        "mmlu_pro",
        Conversation,
        "mmlu",
        [
            (f"Which of these is even?\n\nA. 1\nB. 3\nC. 5\nD. 7\nE. 9\nF. 8\n\n{ASK}", "F"),
            (f"Which is a metal?\n\nA. neon\nB. iron\n\n{ASK}", "B"),
        ],
        ["answer_index", "category", "choices", "cot_content", "question_id", "src"],
    ),
    (
        "option_columns",
        PromptTask,
        "option-columns",
        [
            (f"Which is a prime?\n\nA. 4\nB. 6\nC. 7\nD. 8\n\n{ASK}", "C"),
            (f"Which is a colour?\n\nA. red\nB. dog\n\n{ASK}", "A"),
        ],
        ["choices", "explanation", "id"],
    ),
]
