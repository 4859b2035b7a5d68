"""Methods that align with what the model itself writes: credits of the loop, and preference training in rounds.

Settings are the papers', except the learning rate, which belongs to the model and stays in the recipe. The credits whose
formula is the gradient of another loss (best-of, pairwise) hold for the first update on a rollout; TRL's defaults, one
iteration and as many generation steps as accumulation steps, make just one.
"""

from rlllm.algorithms.methods.base import Method

RAFT = Method(
    "raft",
    "align",
    "supervised fine-tuning on the best of each group of completions",
    "Dong et al. 2023, arXiv 2304.06767",
    {"loss_type": "dapo", "scale_rewards": "none", "beta": 0.0},
    {"sampler": "shuffle", "credit": "best-of", "mask": "all"},
    notes="one step on each rollout's winners, where the paper fine-tunes for a while between rollouts.",
    family="loop",
    also=("reason",),
    example="--reward gold",
)
ONLINE_DPO = Method(
    "online-dpo",
    "align",
    "DPO on pairs the model has just written, the better one by the reward",
    "Guo et al. 2024, arXiv 2402.04792",
    {"loss_type": "luspo", "importance_sampling_level": "token", "scale_rewards": "none", "beta": 0.1},
    {"sampler": "shuffle", "credit": "pairwise", "mask": "all"},
    notes="DPO's beta is the credit's: credit={name: pairwise, beta: 0.1, loss: ipo}; trainer beta only keeps a reference.",
    family="loop",
    also=("reason",),
    sections={"rollout": {"group_size": 2}, "kl": {"where": "nowhere"}},
    example="--reward gold",
)
REMAX = Method(
    "remax",
    "align",
    "REINFORCE whose baseline is the reward of the greedy completion",
    "Li et al. 2023, arXiv 2310.10505",
    {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0},
    {"sampler": "shuffle", "credit": "remax", "mask": "all"},
    notes="sums over tokens as in the paper, divided by the length limit; each prompt is also decoded greedily.",
    family="loop",
    also=("reason",),
    sections={"rollout": {"group_size": 1}},
    example="--reward gold",
)
CONSTRAINED = Method(
    "constrained",
    "align",
    "maximise the reward while a mean cost stays under a bound (Lagrange multiplier)",
    "Dai et al. 2023, arXiv 2310.12773",
    {"loss_type": "grpo", "scale_rewards": "none", "beta": 0.0, "epsilon": 0.2},
    {"sampler": "shuffle", "credit": "lagrange", "mask": "all"},
    notes="needs credit={name: lagrange, cost: REWARD, bound: NUMBER} and that reward with weight 0.",
    family="loop",
    also=("reason",),
    example="--reward gold --reward '{name: regex, pattern: x, weight: 0}' 'credit={name: lagrange, cost: regex, bound: 0.5}'",
)
ITERATIVE_DPO = Method(
    "iterative-dpo",
    "align",
    "rounds of DPO on the best and worst of the model's own completions, by the rewards",
    "Yuan et al. 2024, arXiv 2401.10020; Xu et al. 2023, arXiv 2312.16682",
    {"loss_type": ["sigmoid"], "beta": 0.1},
    notes="each round's reference is the model it starts from; rounds and rollout.group_size set its size.",
    family="rounds",
    example="--reward gold",
)
SPIN = Method(
    "spin",
    "align",
    "rounds of DPO of the data's completion over the model's own (self-play)",
    "Chen et al. 2024, arXiv 2401.01335",
    {"loss_type": ["sigmoid"], "beta": 0.1},
    notes="each round's reference is the model it starts from; needs no reward and no preference labels.",
    family="self-play",
    sections={"rollout": {"group_size": 1}},
)
