"""Learning from recorded preferences without a reward model: the losses of DPO, and the methods beside it.

Settings are the papers', except the learning rate, which belongs to the model and stays in the recipe. A mixture is `dpo`
with several losses: `loss_type=[sigmoid, sft] loss_weights=[1.0, 0.5]`.
"""

from rlllm.algorithms.methods.base import Method

DPO = Method(
    "dpo",
    "align",
    "raise chosen over rejected, relative to the starting model",
    "Rafailov et al. 2023, arXiv 2305.18290",
    {"loss_type": ["sigmoid"], "beta": 0.1},
    family="pairs",
)
IPO = Method(
    "ipo",
    "align",
    "squared loss towards a fixed margin, so that the policy is not driven away without bound",
    "Azar et al. 2023, arXiv 2310.12036",
    {"loss_type": ["ipo"], "beta": 0.1},
    family="pairs",
)
HINGE = Method(
    "hinge",
    "align",
    "no loss once chosen leads by a margin of 1 / beta",
    "Zhao et al. 2023, arXiv 2305.10425",
    {"loss_type": ["hinge"], "beta": 0.1},
    notes="Relative to the starting model, where the paper compares likelihoods; its term on references is left out.",
    family="pairs",
)
ROBUST = Method(
    "robust",
    "align",
    "DPO whose expected loss is that of clean labels, for a known rate of flipped ones",
    "Chowdhury et al. 2024, arXiv 2403.00409",
    {"loss_type": ["robust"], "beta": 0.01, "label_smoothing": 0.1},
    notes="label_smoothing is the rate of flipped labels, below 0.5.",
    family="pairs",
)
EXO = Method(
    "exo",
    "align",
    "reverse instead of forward KL to the smoothed preference",
    "Ji et al. 2024, arXiv 2402.00856",
    {"loss_type": ["exo_pair"], "beta": 0.1, "label_smoothing": 1e-3},
    notes="label_smoothing has to be above 0.",
    family="pairs",
)
NCA = Method(
    "nca",
    "align",
    "noise contrastive: also keeps the likelihood of chosen from falling",
    "Chen et al. 2024, arXiv 2402.05369",
    {"loss_type": ["nca_pair"], "beta": 0.01},
    family="pairs",
)
APO_ZERO = Method(
    "apo-zero",
    "align",
    "chosen up and rejected down, each for itself; for a model worse than chosen",
    "D'Oosterlinck et al. 2024, arXiv 2408.06266",
    {"loss_type": ["apo_zero"], "beta": 0.1},
    family="pairs",
)
APO_DOWN = Method(
    "apo-down",
    "align",
    "both down, rejected further; for a model better than chosen",
    "D'Oosterlinck et al. 2024, arXiv 2408.06266",
    {"loss_type": ["apo_down"], "beta": 0.1},
    family="pairs",
)
AOT = Method(
    "aot",
    "align",
    "the distribution of margins over the batch has to dominate the starting model's",
    "Melnyk et al. 2024, arXiv 2406.05882",
    {"loss_type": ["aot"], "beta": 0.1},
    notes="Compares sorted margins within a micro-batch: a batch of 1 is plain DPO.",
    family="pairs",
)
AOT_UNPAIRED = Method(
    "aot-unpaired",
    "align",
    "the rewards of all chosen have to dominate those of all rejected, whatever the pairing",
    "Melnyk et al. 2024, arXiv 2406.05882",
    {"loss_type": ["aot_unpaired"], "beta": 0.1},
    notes="Compares sorted rewards within a micro-batch: a batch of 1 is plain DPO.",
    family="pairs",
)
SPPO = Method(
    "sppo",
    "align",
    "self-play: drives the log-ratio of chosen to 1 / (2 beta) and of rejected to its opposite",
    "Wu et al. 2024, arXiv 2405.00675",
    {"loss_type": ["sppo_hard"], "beta": 0.001},
    notes="One round on recorded pairs with hard win probabilities; the paper samples anew and estimates them.",
    family="pairs",
)
BCO_PAIR = Method(
    "bco-pair",
    "align",
    "binary classification of chosen against rejected by the implicit reward",
    "Jung et al. 2024, arXiv 2404.04656",
    {"loss_type": ["bco_pair"], "beta": 0.01},
    notes="Without the paper's reward shift, which TRL's paired loss leaves out.",
    family="pairs",
)
DISCOPOP = Method(
    "discopop",
    "align",
    "a blend of logistic and exponential loss that was found by a language model",
    "Lu et al. 2024, arXiv 2406.08414",
    {"loss_type": ["discopop"], "beta": 0.05, "discopop_tau": 0.05},
    family="pairs",
)
SIGMOID_NORM = Method(
    "sigmoid-norm",
    "align",
    "DPO on log-ratios per token, so that length earns nothing",
    "Lambert et al. 2024, arXiv 2411.15124",
    {"loss_type": ["sigmoid_norm"], "beta": 5.0},
    family="pairs",
)
KTO = Method(
    "kto",
    "align",
    "thumbs up and down instead of pairs; gains and losses weighed as people do",
    "Ethayarajh et al. 2024, arXiv 2402.01306",
    {"loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
    notes="Batches hold at least 2 rows: the KL estimate pairs each prompt with its neighbour's completion. Rows are "
    "shuffled once, by the seed.",
    family="labels",
)
ORPO = Method(
    "orpo",
    "align",
    "imitate chosen and raise its odds over rejected, without a reference model",
    "Hong et al. 2024, arXiv 2403.07691",
    {"beta": 0.1},
    notes="beta is the paper's lambda.",
    family="orpo",
)
SIMPO = Method(
    "simpo",
    "align",
    "log-probability per token as reward, with a target margin, without a reference model",
    "Meng et al. 2024, arXiv 2405.14734",
    {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
    notes="With cpo_alpha above 0 chosen is imitated as well (CPO-SimPO).",
    family="cpo",
)
CPO = Method(
    "cpo",
    "align",
    "DPO without the reference model, and chosen is imitated as well",
    "Xu et al. 2024, arXiv 2401.08417",
    {"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 1.0},
    family="cpo",
)
TPO = Method(
    "tpo",
    "align",
    "imitate a gold completion and raise chosen over rejected, in one step without a reference model",
    "Saeidi et al. 2024, arXiv 2405.16681",
    {"loss_type": "sigmoid", "beta": 0.01, "tpo_alpha": 1.0},
    notes="The pairs need a third column, reference: the gold completion.",
    family="tpo",
    example="data.params.reference=true",
)
RRHF = Method(
    "rrhf",
    "align",
    "rank completions by their log-probability per token, and imitate the better one",
    "Yuan et al. 2023, arXiv 2304.05302",
    {"loss_type": "simpo", "cpo_alpha": 1.0},
    notes="Ranks the two completions of each pair. The likelihood term is a mean over tokens, where the paper sums them.",
    family="rrhf",
)
