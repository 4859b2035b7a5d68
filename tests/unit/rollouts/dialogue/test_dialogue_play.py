"""The dialogue's state machine, and the game in which proposer and reviewer are coins (worked numbers of the specification)."""

import importlib.util
from pathlib import Path
from statistics import fmean

import pytest

from rlllm.core.records import PromptTask, Sample
from rlllm.parsing.dialogue_prompts import proposal, read_review, review
from rlllm.rollouts.dialogue.play import PROPOSER, REVIEWER, Protocol, State, Turn, answers, calls_of, play

ROOT = Path(__file__).resolve().parents[4]
TASK = PromptTask("2+2?", "4")


def scripted(*texts):
    """A speaker that says these texts in this order, and keeps the prompts."""
    left = iter(texts)
    prompts = []

    def speak(tasks):
        prompts.extend(task.prompt for task in tasks)
        return [Sample(task.prompt, next(left), tokens=3) for task in tasks]

    return speak, prompts


def right_is_four(answers):
    assert all(answer.prompt == "2+2?" for answer in answers)
    return ["#### 4" in answer.completion for answer in answers]


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
    assert prompts[0] == "2+2?"
    assert "#### 5" in prompts[1]
    assert "[reviewer]\nWRONG" in prompts[2]


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
    no_verdict = role == REVIEWER and verdict is None
    assert turn.values(0.0, -0.5) == (expected[0], -0.5 if no_verdict else expected[1])


def test_a_judge_has_silent_turns_priced_and_evaluation_generates_only_what_is_said():
    priced, prompts = played(["#### 4", "RIGHT", "#### 5", "RIGHT", "#### 4"], probability=0.0)
    assert len(prompts) == 5
    assert priced.turns[2].values(0.0) == (1, -1)
    assert not priced.turns[2].spoke
    one_sided, prompts = played(["#### 4", "RIGHT", "RIGHT"], probability=0.0, price_silence=False)
    assert len(prompts) == 3
    assert one_sided.turns[2].values(0.0) == (1, 1)
    unjudged, prompts = played(["#### 4"], probability=0.0, judge=None)
    assert len(prompts) == 1
    assert calls_of(answers([TASK], [unjudged])[0]) == 1


def test_without_reviewer_or_controllers():
    state, _ = played(["#### 4", "#### 5", "#### 6"], Protocol(reviewer=False), probability=0.0, judge=None)
    assert [turn.number for turn in state.turns] == [1, 3, 5]
    assert state.pending == "#### 4"
    state, _ = played(["#### 4", "RIGHT", "#### 5"], Protocol(turns=3, controllers=False), probability=0.0, judge=None)
    assert [turn.spoke for turn in state.turns] == [True] * 3
    assert state.pending == "#### 5"


def test_an_answer_counts_every_token_and_keeps_the_turns():
    state, _ = played(["#### 5", "WRONG", "#### 4"], Protocol(turns=3))
    sample = answers([TASK], [state])[0]
    assert (sample.completion, sample.tokens, sample.answer) == ("#### 4", 9, "4")
    assert sample.meta["dialogue"][1] == {
        "turn": 2,
        "agent": 1,
        "role": "reviewer",
        "choice": True,
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
    assert asked[0] == chat[0]
    assert asked[1]["content"].startswith("2+2?\n[solution]\n#### 5\n[end]\n")


def test_every_key_that_is_visited_is_declared():
    protocol = Protocol(turns=7, agents=3)
    declared = set(protocol.keys())
    state = State(pending="#### 1")
    for turn in range(1, 8):
        for vote in range(-(turn // 2), turn // 2 + 1):
            state.vote = vote
            assert protocol.key(turn, state) in declared


# the game of coins: a proposal is right with probability p, a verdict true with probability q ------------------------------


@pytest.fixture(scope="module")
def game():
    """The recorded game, `bench/regret_game.py`."""
    spec = importlib.util.spec_from_file_location("regret_game", ROOT / "bench" / "regret_game.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regret_falls_and_keeps_the_bound(game):
    tables = {
        dialogues: [game.learned(seed, [0.5] * 2, [0.85] * 2, dialogues=dialogues) for seed in range(4)]
        for dialogues in (50, 800)
    }
    regret = {dialogues: fmean(table.average_regret for table in some) for dialogues, some in tables.items()}
    assert 0.04 < regret[50] < 0.12
    assert regret[800] < 0.012
    assert all(game.holds(table) for some in tables.values() for table in some)


@pytest.mark.parametrize(("right", "verdict", "speaks"), [(0.5, 0.85, True), (0.95, 0.6, False)])
def test_a_reviewer_speaks_where_it_is_right_more_often_than_the_solution(game, right, verdict, speaks):
    table = game.learned(0, [right] * 2, [verdict] * 2, dialogues=800)
    assert (table.average("1/reviewer/not-last/0") > 0.9) is speaks


def test_pricing_both_actions_beats_the_released_one_sided_update(game):
    share = {True: [], False: []}
    for seed in range(4):
        for two_sided, values in share.items():
            table = game.learned(seed, [0.5] * 2, [0.85] * 2, dialogues=800, two_sided=two_sided)
            values.append(game.accuracy(table, seed + 99, [0.5] * 2, [0.85] * 2, dialogues=800))
    assert fmean(share[True]) == pytest.approx(0.762, abs=0.025)
    assert fmean(share[True]) > fmean(share[False])
