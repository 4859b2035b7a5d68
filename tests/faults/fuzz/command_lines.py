"""Generated command lines, right ones and wrong ones, each with the exit codes that it may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

RIGHT = frozenset({0})
WRONG = frozenset({2, 3})
EITHER = RIGHT | WRONG


@dataclass(frozen=True)
class Case:
    """A command line, the files that it names, and the exit codes that are no mistake."""

    words: list[str]
    codes: frozenset[int]
    files: dict[str, bytes] = field(default_factory=dict)


LINES: dict[str, list[str]] = {
    "sft": ["--data", "arithmetic#16"],
    "train-rm": ["--data", "world#16"],
    "align": ["--data", "world#16"],
    "reason": ["--data", "arithmetic#16", "--reward", "exact"],
    "eval": ["arithmetic", "rows=8"],
}
"""Verb -> words with which it plans a run; these and a choice of the following settings are right."""
OF_TRAINING = [
    ["--max_steps", "3"],
    ["--max-steps=4"],
    ["learning_rate=1e-4"],
    ["--seed", "7"],
    ["--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "2"],
    ["--lr_scheduler_type", "constant"],
    ["--warmup_steps", "0.1"],
    ["--optim", "adamw_torch"],
    ["lora.r=4", "lora.alpha=8"],
    ["--use_peft"],
    ["--weight_decay", "0"],
    ["--max_grad_norm", ".inf"],
    ["--save_strategy", "no"],
    ["--logging_steps", "1"],
    ["eval.rows=8"],
    ["--output-dir", "out"],
    ["--fail-on", "no-gain"],
    ["--json"],
    ["hardware.threads=1"],
    ["--report_to", "none"],
]
RIGHT_SETTINGS: dict[str, list[list[str]]] = {
    "sft": [*OF_TRAINING, ["--max_length", "64"], ["--packing"], ["--completion_only_loss", "true"]],
    "train-rm": [*OF_TRAINING, ["--max_length", "64"]],
    "align": [*OF_TRAINING, ["--beta", "0.2"], ["--method", "dpo"], ["rollout.max_new_tokens=8"]],
    "reason": [
        *OF_TRAINING,
        ["rollout.group_size=4"],
        ["--temperature", "0.8"],
        ["--beta", "0.01"],
        ["--method", "grpo"],
    ],
    "eval": [["samples=2"], ["--seed", "3"], ["--json"], ["--output-dir", "out"], ["hardware.threads=1"]],
}
WRONG_SETTINGS: list[list[str]] = [
    ["--learning_rat", "1"],
    ["no.such=1"],
    ["nonsense"],
    ["-x"],
    ["--seed"],
    ["--seed", "-1"],
    ["--seed", "x"],
    ["--seed", "99999999999999999999999999"],
    ["--model", "no/such/folder"],
    ["--model", ""],
    ["--model", "m" * 3000],
    ["--config", "missing.yaml"],
    ["missing.yaml"],
    ["+seed=1"],
    ["hardware.threads=0"],
    ["hardware.matmul=abacus"],
    ["--output-dir", "a" * 300],
    ["--seed", "1", "--seed", "2"],
    ["seed=1", "--seed", "2"],
    ["seed={a: 1}"],
    ["seed=[1]"],
    ["model.trust_remote_code=true"],
    ["model.dtype=float7"],
]
WRONG_OF_TRAINING: list[list[str]] = [
    ["--method", "no-such-method"],
    ["--method", ""],
    ["method=[1,2]"],
    ["--max_steps", "many"],
    ["--max_steps", "1.5"],
    ["--max_steps", "9" * 40],
    ["--learning_rate", ".nan"],
    ["--learning_rate", "-1"],
    ["--learning_rate", "1e-4x"],
    ["--optim", "adam"],
    ["--lr_scheduler_type", "\u00e9"],
    ["--lr_scheduler_kwargs", "{x: 1}"],
    ["--warmup_steps", "-3"],
    ["--adam_beta1", "1.5"],
    ["--per_device_train_batch_size", "0"],
    ["--gradient_accumulation_steps", "-1"],
    ["--num_train_epochs", "-1"],
    ["--save_strategy", "never"],
    ["--deepspeed", "nothing.json"],
    ["--report_to", "carrier-pigeon"],
    ["--fp16", "--bf16"],
    ["lora.r=0"],
    ["lora.r=x"],
    ["lora.target_modules=[]"],
    ["lora.nothing=1"],
    ["data.rows=many"],
    ["data.rows=-5"],
    ["data.holdout=-1"],
    ["data.columns=x"],
    ["data.on_bad_row=shrug"],
    ["eval.rows=-1"],
    ["eval.keep=worst"],
    ["--fail-on", "boredom"],
    ["launch=rocket"],
    ["trainer.output_dir=x"],
    ["trainer=1"],
    ["--parallelism_config", "x"],
    ["--monitors", "no-such-monitor"],
]
OTHER_RIGHT = [
    ["--version"],
    ["--help"],
    ["recipes", "ls"],
    ["recipes", "show", "reason/quickstart"],
    ["methods", "ls"],
    ["methods", "ls", "--stage", "align"],
    ["methods", "show", "grpo"],
    ["rewards", "ls"],
    ["metrics", "ls"],
    ["monitors", "ls"],
    ["data", "ls"],
    ["data", "schemas"],
    ["data", "show", "arithmetic", "rows=4"],
    ["data", "check", "arithmetic#16"],
    ["runs", "ls"],
    ["sft", "quickstart", "--dry-run"],
    ["sweep", "align-methods", "--dry-run"],
    ["run", "demo", "--dry-run"],
    ["compare", "--help"],
]
OTHER_WRONG = [
    ["train"],
    ["recipes", "show", "no/such"],
    ["recipes", "lss"],
    ["methods", "ls", "--stage", "cooking"],
    ["methods", "show", "no-such"],
    ["data", "show", "nothing-here"],
    ["data", "check", "nothing.jsonl"],
    ["data", "check"],
    ["runs", "show", "runs/nothing"],
    ["runs", "show"],
    ["compare", "runs/a", "runs/b"],
    ["report", "runs/nothing"],
    ["export", "runs/nothing"],
    ["verify", "nothing.yaml"],
    ["claim", "runs/nothing"],
    ["sweep", "no-such-sweep", "--dry-run"],
    ["run", "no-such-pipeline", "--dry-run"],
    ["config", "import", "nothing.yaml"],
    ["rewards", "test", "no-such-reward"],
    ["rewards", "replay", "runs/nothing", "--reward", "exact"],
    ["chat", "runs/nothing"],
    ["traces", "show", "nothing"],
    ["selftest", "--only"],
    ["plan", "sft", "--learning_rat", "1"],
    ["plan", "no-such-verb"],
    ["doctor", "--no-such-option"],
]
GARBAGE = "\0\x1b[31m\u202e\ud83d\u00e9{}[]:,#=-+*&!|>'\"%@`\\/ \n\tabcXYZ0189.~$"
RECIPES = {
    "sft": "# rlllm sft mine.yaml\nmodel: nano\ndata: {name: arithmetic, rows: 16, level: 2}\nmethod: sft\n"
    "trainer: {learning_rate: 1.0e-3, max_steps: 3}\nlora: {r: 4}\n",
    "reason": "# rlllm reason mine.yaml\nmodel: nano\ndata: {name: arithmetic, rows: 16}\nrewards:\n  - exact\n"
    "  - {name: format, weight: 0.2}\nmethod: grpo\nrollout: {group_size: 4, max_new_tokens: 16}\n",
    "eval": "# rlllm eval mine.yaml\nmodel: nano\ntasks: [arithmetic]\nrows: 8\nsamples: 2\n",
}


def _right(random: Random) -> Case:
    if random.random() < 0.15:
        return Case(random.choice(OTHER_RIGHT), RIGHT)
    verb = random.choice(list(LINES))
    return Case([verb, *LINES[verb], *_settings(random, verb), "--dry-run"], RIGHT)


def _settings(random: Random, verb: str) -> list[str]:
    """A choice of settings of which no two are the same one."""
    chosen: dict[str, list[str]] = {}
    for words in random.sample(RIGHT_SETTINGS[verb], random.randrange(5)):
        key = words[0].lstrip("-").replace("-", "_").partition("=")[0]
        chosen.setdefault("lora" if key == "use_peft" or key.startswith("lora") else key, words)
    return [word for words in chosen.values() for word in words]


def _wrong(random: Random) -> Case:
    if random.random() < 0.15:
        return Case(random.choice(OTHER_WRONG), WRONG)
    verb = random.choice(list(LINES))
    wrong = random.choice(WRONG_SETTINGS + (WRONG_OF_TRAINING if verb != "eval" else []))
    return Case([verb, *LINES[verb], *wrong, "--dry-run"], WRONG)


def _garbled_recipe(random: Random) -> Case:
    """A recipe of which some characters are changed; it may be a right one still."""
    verb = random.choice(list(RECIPES))
    text = list(RECIPES[verb])
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(text))
        change = random.randrange(4)
        if change == 0:
            text[place] = random.choice(GARBAGE)
        elif change == 1:
            text.insert(place, random.choice(GARBAGE) * random.choice((1, 1, 3, 500)))
        elif change == 2:
            del text[place : place + random.randrange(1, 9)]
        else:
            text[place:place] = text[random.randrange(len(text)) :][:40]
    content = "".join(text).encode(errors="surrogatepass")
    return Case([verb, "mine.yaml", "--dry-run"], EITHER, {"mine.yaml": content})


def _garbled_words(random: Random) -> Case:
    """Words in the wrong place, cut words, and garbage."""
    verb = random.choice(list(LINES))
    words = [*LINES[verb], *_settings(random, verb)]
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(words))
        garbage = "".join(random.choices(GARBAGE.replace("\0", ""), k=random.randrange(1, 12)))
        words[place : place + random.randrange(2)] = [
            random.choice((garbage, f"--{garbage}", f"seed={garbage}", words[place][:-1]))
        ]
    return Case([verb, *words, "--dry-run"], EITHER)


def cases(seed: int, number: int) -> Iterator[Case]:
    """As many command lines, in the order of the seed: three right or wrong ones to one garbled one."""
    random = Random(seed)
    kinds = (_right, _wrong, _wrong, _garbled_recipe, _garbled_words)
    for _ in range(number):
        yield random.choice(kinds)(random)
