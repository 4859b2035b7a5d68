"""TRACER's dialogue between coins: what its table learns, without a language model.

    python bench/regret_game.py --output docs/results/regret-game.json

A proposal of an agent is right with its probability p, a verdict true with its q. Protocol, parser and table are the product's
own. For each game: average regret after 50, 500 and 4,000 dialogues, and the share of right answers of the average policy over
as many dialogues, where a silent proposal has its price (`two-sided`) and where it has none (`one-sided`, the released code).
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.evals.statistics.seeds import t_interval
from rlllm.rollouts.dialogue.play import Protocol, State, play
from rlllm.rollouts.dialogue.regret import RegretTable, counted

SOURCES = ["src/rlllm/rollouts/dialogue", "src/rlllm/parsing/dialogue_prompts.py", "src/rlllm/parsing/answers.py"]
RIGHT, WRONG = "#### 4", "#### 5"
GAMES = {
    "p .5, q .85": ((0.5, 0.5), (0.85, 0.85), 5),
    "p .7, q .8": ((0.7, 0.7), (0.8, 0.8), 5),
    "p .4 .8 .6, q .9 .6 .75": ((0.4, 0.8, 0.6), (0.9, 0.6, 0.75), 7),
}
"""Name -> p and q of each agent, and turns."""
CHECKPOINTS = (50, 500, 4000)


def dialogue(
    rng: random.Random, rights: Sequence[float], verdicts: Sequence[float], protocol: Protocol, **options: Any
) -> State:
    """One dialogue of coins; `rights` and `verdicts` are by agent, and the turn says whose coin is thrown."""
    agent, turns = [0], iter(range(1, protocol.turns + 1))

    def draw(count: int) -> list[float]:
        agent[0] = protocol.agent(next(turns))
        return [rng.random() for _ in range(count)]

    def speak(tasks: Sequence[PromptTask]) -> list[Sample]:
        return [Sample(task.prompt, say(str(task.prompt))) for task in tasks]

    def say(prompt: str) -> str:
        if not prompt.endswith("RIGHT or WRONG."):
            return RIGHT if rng.random() < rights[agent[0]] else WRONG
        right = RIGHT in prompt.rsplit("[solution]", 1)[1]
        return "RIGHT" if right == (rng.random() < verdicts[agent[0]]) else "WRONG"

    return play([PromptTask("2+2?", "4")], protocol, speak, draw=draw, **options)[0]


def learned(
    seed: int,
    rights: Sequence[float],
    verdicts: Sequence[float],
    *,
    dialogues: int,
    turns: int = 5,
    two_sided: bool = True,
    at: Callable[[int, RegretTable], None] = lambda number, table: None,
) -> RegretTable:
    """The table after so many dialogues, updated after each; `at` is called after each with their number."""
    rng, table, protocol = random.Random(seed), RegretTable(), _protocol(rights, turns)
    options: dict[str, Any] = {
        "probability": table.probability,
        "judge": lambda answers: [answer.completion == RIGHT for answer in answers],
        "price_silence": two_sided,
    }
    for number in range(1, dialogues + 1):
        state = dialogue(rng, rights, verdicts, protocol, **options)
        for turn in state.turns:
            if turn.key:
                table.update(counted([(turn.key, *turn.values(0.0))]))
        at(number, table)
    return table


def accuracy(
    table: RegretTable, seed: int, rights: Sequence[float], verdicts: Sequence[float], *, dialogues: int, turns: int = 5
) -> float:
    """Share of right answers of the average policy, each action by its larger probability."""
    rng, protocol = random.Random(seed), _protocol(rights, turns)
    greedy = {"probability": lambda key: float(table.average(key) >= 0.5)}
    return fmean(dialogue(rng, rights, verdicts, protocol, **greedy).pending == RIGHT for _ in range(dialogues))


def holds(table: RegretTable) -> bool:
    """Whether the average regret is below 2 sqrt(2 K / M) for K keys and M visits."""
    visits = sum(table.visits(key) for key in table.keys)
    return table.average_regret <= 2 * math.sqrt(2 * len(table.keys) / visits)


def _protocol(rights: Sequence[float], turns: int) -> Protocol:
    return Protocol(turns=turns, agents=len(rights), history=0)


def record(seeds: int, dialogues: int) -> dict[str, Any]:
    games, held = [], True
    for name, (rights, verdicts, turns) in GAMES.items():
        regrets: dict[int, list[float]] = {checkpoint: [] for checkpoint in CHECKPOINTS if checkpoint <= dialogues}
        right: dict[bool, list[float]] = {True: [], False: []}
        for seed in range(seeds):

            def look(number: int, table: RegretTable, regrets: dict[int, list[float]] = regrets) -> None:
                nonlocal held
                held = held and holds(table)
                if number in regrets:
                    regrets[number].append(table.average_regret)

            for two_sided, values in right.items():
                shared: dict[str, Any] = {"dialogues": dialogues, "turns": turns}
                watch = {"at": look} if two_sided else {}
                table = learned(seed, rights, verdicts, two_sided=two_sided, **shared, **watch)
                values.append(accuracy(table, 1000 + seed, rights, verdicts, **shared))
        games.append(
            {
                "game": name,
                "regret": {str(number): t_interval(values).to_json() for number, values in regrets.items()},
                "two_sided": t_interval(right[True]).to_json(),
                "one_sided": t_interval(right[False]).to_json(),
            }
        )
    return {"settings": {"seeds": seeds, "dialogues": dialogues}, "games": games, "bound_held": "yes" if held else "no"}


def main() -> None:
    from results_file import add_output, write_results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dialogues", type=int, default=max(CHECKPOINTS))
    add_output(parser)
    options = parser.parse_args()
    results = record(options.seeds, options.dialogues)
    for row in results["games"]:
        print(row["game"], {name: value["estimate"] for name, value in row["regret"].items()}, end=" ")
        print(f"two-sided {row['two_sided']['estimate']:.3f} one-sided {row['one_sided']['estimate']:.3f}")
    print("bound held:", results["bound_held"])
    write_results(options.output, results, sources=SOURCES, threads=1)


if __name__ == "__main__":
    main()
