"""The dialogue's state machine, and the game in which proposer and reviewer are coins (worked numbers of the specification)."""

import math
import random
from statistics import fmean

import pytest

from rlllm.core.records import PromptTask, Sample
from rlllm.parsing.dialogue_prompts import proposal, read_review, review
from rlllm.rollouts.dialogue.play import PROPOSER, REVIEWER, Protocol, State, Turn, answers, calls_of, play
from rlllm.rollouts.dialogue.regret import RegretTable, counted

TASK = PromptTask("2+2?", "4")


def scripted(*texts):
    """A speaker that says these texts in this order, and keeps the prompts."""
    left = iter(texts)
    prompts = []

    def speak(tasks):
        prompts.extend(task.prompt for task in tasks)
        return [Sample(task.prompt, next(left), tokens=3) for task in tasks]

    return speak, prompts


def right_is_four(tasks, texts):
    return ["#### 4" in text for text in texts]


def played(texts, protocol=Protocol(), probability=1.0, judge=right_is_four, draws=0.5, **options):
    speak, prompts = scripted(*texts)
    states = play(
        [TASK],
        protocol,
        speak,
        probability=lambda key: probability,
        draw=lambda n: [draws] * n,
        judge=judge,
        **options,
    )
    return states[0], prompts


def test_votes_and_pending_solution():
    state, prompts = played(["#### 5", "WRONG", "#### 4", "RIGHT", "no answer here"])
    assert [(turn.role, turn.key) for turn in state.turns] == [
        (PROPOSER, ""),
        (REVIEWER, "1/reviewer/not-last/0"),
        (PROPOSER, "0/proposer/not-last/-1"),
        (REVIEWER, "1/reviewer/last/0"),
        (PROPOSER, "0/proposer/last/1"),
    ]
    assert (state.pending, state.right, state.vote) == ("no answer here", None, 0)
    assert prompts[0] == "2+2?" and "#### 5" in prompts[1] and "[reviewer]\nWRONG" in prompts[2]


def test_an_unreadable_solution_forces_another_proposal_and_a_silent_turn_changes_nothing():
    state, _ = played(["hm", "WRONG", "#### 4", "WRONG", "#### 5"], probability=0.0)
    spoke = [(turn.spoke, turn.key) for turn in state.turns]
    assert spoke == [
        (True, ""),
        (False, "1/reviewer/not-last/unreadable"),
        (True, ""),
        (False, "1/reviewer/last/0"),
        (False, "0/proposer/last/0"),
    ]
    assert (state.pending, state.vote) == ("#### 4", 0)


VALUES = [
    # role, pending right, verdict, proposal right, text: silence, speech
    (REVIEWER, True, True, None, "RIGHT", (1, 1)),
    (REVIEWER, True, False, None, "WRONG", (1, -1)),
    (REVIEWER, False, False, None, "WRONG", (-1, 1)),
    (REVIEWER, False, None, None, "perhaps", (-1, 0)),
    (REVIEWER, None, False, None, "WRONG", (-1, 0)),
    (PROPOSER, True, None, False, "#### 5", (1, -1)),
    (PROPOSER, False, None, True, "#### 4", (-1, 1)),
    (PROPOSER, None, None, None, "hm", (-1, -1)),
    (PROPOSER, False, None, None, None, (-1, -1)),
]


@pytest.mark.parametrize(("role", "pending_right", "verdict", "right", "text", "expected"), VALUES)
def test_values_of_both_actions(role, pending_right, verdict, right, text, expected):
    turn = Turn(2, 1, role, "p", "s", pending_right, "k", 0.5, 0.1, False, text, 1, verdict, right)
    assert turn.values(0.0) == expected
    assert turn.values(0.25) == (expected[0], expected[1] - 0.25)


def test_a_judge_has_silent_turns_priced_and_evaluation_generates_only_what_is_said():
    priced, prompts = played(["#### 4", "RIGHT", "#### 5", "RIGHT", "#### 4"], probability=0.0)
    assert len(prompts) == 5 and priced.turns[2].values(0.0) == (1, -1) and not priced.turns[2].spoke
    one_sided, prompts = played(["#### 4", "RIGHT", "RIGHT"], probability=0.0, price_silence=False)
    assert len(prompts) == 3 and one_sided.turns[2].values(0.0) == (1, 1)
    unjudged, prompts = played(["#### 4"], probability=0.0, judge=None)
    assert len(prompts) == 1 and calls_of(answers([TASK], [unjudged])[0]) == 1


def test_without_reviewer_or_controllers():
    state, _ = played(["#### 4", "#### 5", "#### 6"], Protocol(reviewer=False), probability=0.0, judge=None)
    assert [turn.number for turn in state.turns] == [1, 3, 5] and state.pending == "#### 4"
    state, _ = played(["#### 4", "RIGHT", "#### 5"], Protocol(turns=3, controllers=False), probability=0.0, judge=None)
    assert [turn.spoke for turn in state.turns] == [True] * 3 and state.pending == "#### 5"


def test_an_answer_counts_every_token_and_keeps_the_turns():
    state, _ = played(["#### 5", "WRONG", "#### 4"], Protocol(turns=3))
    sample = answers([TASK], [state])[0]
    assert (sample.completion, sample.tokens, sample.answer) == ("#### 4", 9, "4")
    assert sample.meta["dialogue"][1] == {
        "turn": 2,
        "agent": 1,
        "role": "reviewer",
        "spoke": True,
        "text": "WRONG",
        "tokens": 3,
        "verdict": False,
    }


REVIEWS = [
    ("RIGHT", True),
    ("\n\n  Correct. The sum holds.", True),
    ("**WRONG**: 2+2 is 4", False),
    ("Verdict: incorrect", False),
    ("Rightly so", None),
    ("I think it is wrong", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "verdict"), REVIEWS)
def test_reading_a_review(text, verdict):
    assert read_review(text) is verdict


def test_prompts_keep_the_other_messages_of_a_chat():
    chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "2+2?"}]
    assert proposal(chat, None) is chat
    asked = review(chat, "#### 5")
    assert asked[0] == chat[0] and asked[1]["content"].startswith("2+2?\n[solution]\n#### 5\n[end]\n")


def test_every_key_that_is_visited_is_declared():
    protocol = Protocol(turns=7, agents=3)
    declared = set(protocol.keys())
    state = State(pending="#### 1")
    for turn in range(1, 8):
        for vote in range(-(turn // 2), turn // 2 + 1):
            state.vote = vote
            assert protocol.key(turn, state) in declared


# the game of coins: a proposal is right with probability p, a verdict true with probability q ----------------------------------


def coins(rng, rights, verdicts):
    """A speaker of agents that are coins. `rights` and `verdicts` are by agent; the turn is read off the prompt."""

    def speak(tasks):
        samples = []
        for task in tasks:
            agent = int(task.meta["agent"][0])
            if task.prompt.endswith("RIGHT or WRONG."):
                pending_right = "#### 4" in task.prompt.rsplit("[solution]", 1)[1]
                says_right = pending_right == (rng.random() < verdicts[agent])
                samples.append(Sample(task.prompt, "RIGHT" if says_right else "WRONG"))
            else:
                samples.append(Sample(task.prompt, "#### 4" if rng.random() < rights[agent] else "#### 5"))
        return samples

    return speak


def coin_dialogue(rng, rights, verdicts, protocol, **options):
    """One dialogue of coins; `rights` and `verdicts` are by agent, and the turn says whose coin is thrown."""
    agent, turns = {"agent": [0]}, iter(range(1, protocol.turns + 1))

    def draw(count):
        agent["agent"][0] = protocol.agent(next(turns))
        return [rng.random() for _ in range(count)]

    task = PromptTask("2+2?", "4", agent)
    return play([task], protocol, coins(rng, rights, verdicts), draw=draw, **options)[0]


def learned(seed, rights, verdicts, *, dialogues, two_sided=True, protocol=Protocol(history=0)):
    """The table after so many dialogues, updated after each."""
    rng, table = random.Random(seed), RegretTable()
    for _ in range(dialogues):
        state = coin_dialogue(
            rng,
            rights,
            verdicts,
            protocol,
            probability=table.probability,
            judge=right_is_four,
            price_silence=two_sided,
        )
        for turn in state.turns:
            if turn.key:
                table.update(counted([(turn.key, *turn.values(0.0))]))
    return table


def greedy_accuracy(table, rights, verdicts, *, dialogues, seed, protocol=Protocol(history=0)):
    """Share of right answers of the average policy, each action by its larger probability."""
    rng = random.Random(seed)
    greedy = {"probability": lambda key: float(table.average(key) >= 0.5)}
    states = [coin_dialogue(rng, rights, verdicts, protocol, **greedy) for _ in range(dialogues)]
    return fmean(state.pending == "#### 4" for state in states)


def test_regret_falls_and_keeps_the_bound():
    tables = {
        dialogues: [learned(seed, [0.5] * 2, [0.85] * 2, dialogues=dialogues) for seed in range(4)]
        for dialogues in (50, 1000)
    }
    regret = {dialogues: fmean(table.average_regret for table in some) for dialogues, some in tables.items()}
    assert 0.04 < regret[50] < 0.12 and regret[1000] < 0.01
    for table in tables[50] + tables[1000]:
        visits = sum(table.visits(key) for key in table.keys)
        assert table.average_regret <= 2 * math.sqrt(2 * len(table.keys) / visits)


@pytest.mark.parametrize(("right", "verdict", "speaks"), [(0.5, 0.85, True), (0.95, 0.6, False)])
def test_a_reviewer_speaks_where_it_is_right_more_often_than_the_solution(right, verdict, speaks):
    table = learned(0, [right] * 2, [verdict] * 2, dialogues=1000)
    assert (table.average("1/reviewer/not-last/0") > 0.9) is speaks


def test_pricing_both_actions_is_no_worse_than_the_released_one_sided_update():
    accuracy = {True: [], False: []}
    for seed in range(5):
        for two_sided, values in accuracy.items():
            table = learned(seed, [0.5] * 2, [0.85] * 2, dialogues=1000, two_sided=two_sided)
            values.append(greedy_accuracy(table, [0.5] * 2, [0.85] * 2, dialogues=1000, seed=seed + 99))
    assert fmean(accuracy[True]) == pytest.approx(0.762, abs=0.02)
    assert fmean(accuracy[True]) > fmean(accuracy[False])
