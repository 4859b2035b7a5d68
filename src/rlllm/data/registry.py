"""The table of built-in data sets. It is static, so that listing them imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

DATASETS = Registry(
    "dataset",
    "rlllm.datasets",
    {
        "arithmetic": Builtin("rlllm.data.procedural.arithmetic:arithmetic", "sums with worked steps, levels 1 to 5"),
        "countdown": Builtin(
            "rlllm.data.procedural.countdown:countdown", "reach a target with given numbers, levels 1 to 4"
        ),
        "lists": Builtin("rlllm.data.procedural.lists:lists", "transform a list of letters or digits, levels 1 to 4"),
        "shapes": Builtin(
            "rlllm.data.procedural.shapes:shapes",
            "questions on pictures of drawn shapes, levels 1 to 4; for vision models",
        ),
        "cues": Builtin(
            "rlllm.data.procedural.cues:cues",
            "an invented speaker's face and voice, which agree or clash, levels 1 to 3",
        ),
        "calculator": Builtin(
            "rlllm.data.procedural.tool_tasks:calculator",
            "arithmetic for a calculator; as conversations, how to call it",
        ),
        "guess": Builtin(
            "rlllm.data.procedural.tool_tasks:guess", "hidden numbers to guess, levels 1 to 2; as conversations, games"
        ),
        "maze": Builtin(
            "rlllm.data.procedural.mazes:maze", "mazes to walk through, levels 1 to 3; as conversations, walks"
        ),
        "search": Builtin(
            "rlllm.data.procedural.tool_tasks:search",
            "questions about an invented world to look up, levels 1 to 3; as conversations, searches",
        ),
        "workspace": Builtin(
            "rlllm.data.procedural.programs:workspace",
            "small programs to write, levels 1 to 3; as conversations, how they are written, run and submitted",
        ),
        "physics-transitions": Builtin(
            "rlllm.data.procedural.physics.transitions:transitions",
            "states of scenes and an action, to predict the next state; levels 1 to 4",
        ),
        "simulator": Builtin(
            "rlllm.data.procedural.physics.experiments:simulator",
            "scenes of physics with a hidden number to measure, levels 1 to 4; as conversations, experiments",
        ),
        "physics": Builtin(
            "rlllm.data.procedural.physics.task:physics",
            "questions about scenes of ten families, levels 1 to 4: numbers with units, reverse, formulas, motions",
        ),
        "text": Builtin(
            "rlllm.data.corpus.text:text",
            "any text as positions, a prefix and its continuation, as text:FILE, text:FOLDER or text:HUB-ID",
        ),
        "from-run": Builtin(
            "rlllm.data.from_run:from_run", "right completions that a run sampled, to imitate, as from-run:RUN"
        ),
        "humaneval": Builtin(
            "rlllm.data.humaneval:humaneval", "164 Python functions to complete; a test set, for eval"
        ),
        "gym": Builtin("rlllm.data.reasoning_gym:gym", "any reasoning-gym task, as gym:NAME"),
        "verdicts": Builtin(
            "rlllm.data.procedural.verdicts:verdicts", "judgements of simulated pairs, as verdicts:NAME"
        ),
        "dialogues": Builtin(
            "rlllm.data.procedural.dialogues:dialogues",
            "turns of a proposer and a reviewer, as dialogues:NAME",
        ),
        "choices": Builtin("rlllm.data.procedural.choices:choices", "multiple choice, as choices:TASK"),
        "instructions": Builtin("rlllm.data.procedural.instructions:instructions", "prompts with 1 to 4 IFEval rules"),
        "calls": Builtin("rlllm.data.procedural.calls:calls", "requests to call functions for, levels 1 to 4"),
        "homonyms": Builtin("rlllm.data.procedural.homonyms:homonyms", "harmful and benign questions that sound alike"),
        "openenv": Builtin("rlllm.data.others.openenv:openenv", "tasks of an OpenEnv server, as openenv:URL"),
        "verifiers": Builtin(
            "rlllm.data.others.verifiers:verifiers", "tasks of an installed taskset of verifiers, as verifiers:ID"
        ),
        "world": Builtin("rlllm.data.procedural.world:world", "a mixture of the three tasks, by params.weights"),
    },
    "rlllm data ls",
)
