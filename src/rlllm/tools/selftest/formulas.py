"""The papers' formulas in NumPy, written down one by one, without torch and without a line of what they are compared with.

Arrays are of 64-bit floats. B completions of T tokens: `new`, `old` and `ref` are log-probabilities in nats, `mask` is 1 on the
tokens that count, `advantages` has one number for each token, (B, T), or completion, (B, 1). N groups of G completions:
`rewards` is (N, G), NaN where a reward could not judge. Losses are those of single tokens or pairs, to be minimised.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


# Policy losses ------------------------------------------------------------------------------------------------------------


def sequence_ratio(new: Array, old: Array, mask: Array) -> Array:
    """Ratio of a completion: the geometric mean of its tokens' ratios, (B, T) (Zheng et al. 2025, arXiv 2507.18071, eq. 7)."""
    mean = ((new - old) * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    return np.exp(mean) * np.ones_like(new)


def product_ratio(new: Array, old: Array, mask: Array) -> Array:
    """Ratio of a completion: the product of its tokens' ratios, (B, T) (RLOO: Ahmadian et al. 2024, arXiv 2402.14740)."""
    return np.exp(((new - old) * mask).sum(1, keepdims=True)) * np.ones_like(new)


def clipped(ratio: Array, advantages: Array, low: float, high: float) -> Array:
    """PPO's clipped loss (Schulman et al. 2017, arXiv 1707.06347, eq. 7), with two bounds (DAPO, arXiv 2503.14476)."""
    return -np.minimum(ratio * advantages, np.clip(ratio, 1 - low, 1 + high) * advantages)


def dual_clip(ratio: Array, advantages: Array, low: float, high: float, bound: float) -> Array:
    """The clipped loss, at most -bound A where A < 0 (Ye et al. 2019, arXiv 1912.09729, eq. 4)."""
    loss = clipped(ratio, advantages, low, high)
    return np.where(advantages < 0, np.minimum(loss, -bound * advantages), loss)


def gmpo(new: Array, old: Array, mask: Array, advantages: Array, width: float) -> Array:
    """-A times the geometric mean of token ratios that stop at e^width and e^-width (Zhao 2025, arXiv 2507.20673, eq. 4)."""
    ratio = np.exp(new - old)
    stopped = np.where(advantages > 0, np.minimum(ratio, np.exp(width)), np.maximum(ratio, np.exp(-width)))
    product = np.where(mask > 0, stopped, 1.0).prod(axis=1, keepdims=True)
    return -(product ** (1 / mask.sum(1, keepdims=True))) * advantages


def cispo(new: Array, ratio: Array, advantages: Array, most: float) -> Array:
    """-min(ratio, most) A log pi; the ratio has no gradient (MiniMax 2025, arXiv 2506.13585, eq. 4 and 5)."""
    return -np.minimum(ratio, most) * advantages * new


def sapo(ratio: Array, advantages: Array, positive: float, negative: float) -> Array:
    """-(4 / tau) sigmoid(tau (ratio - 1)) A, tau by the sign of A (Gao et al. 2025, arXiv 2511.20347)."""
    tau = np.where(advantages > 0, positive, negative)
    return -sigmoid(tau * (ratio - 1)) * 4 / tau * advantages


def vespo(new: Array, ratio: Array, mask: Array, advantages: Array, shapes: tuple[float, float, float, float]) -> Array:
    """-phi(w) A log pi, phi(w) = e^l w^k e^(-l w), w the product of the token ratios, without a gradient (Shen et al. 2026).

    `shapes` holds k and l where A is at least 0, then those where it is below.
    """
    w = np.where(mask > 0, ratio, 1.0).prod(axis=1, keepdims=True)
    k, rate = (np.where(advantages >= 0, shapes[place], shapes[place + 2]) for place in (0, 1))
    return -np.exp(rate * (1 - w)) * w**k * advantages * new


def luffy(new: Array, old: Array, off_policy: Array, advantages: Array, gamma: float) -> Array:
    """-r A; on off-policy tokens r is p / (p + gamma) (Yan et al. 2025, arXiv 2504.14945, eq. 6)."""
    p = np.exp(new)
    return -np.where(off_policy > 0, p / (p + gamma), np.exp(new - old)) * advantages


def covariance(new: Array, advantages: Array, mask: Array) -> Array:
    """(log pi - its mean) (A - its mean) at each token of the mask, else 0 (Cui et al. 2025, arXiv 2505.22617)."""
    inside, each = mask > 0, advantages * np.ones_like(new)
    product = (new - new[inside].mean()) * (each - each[inside].mean())
    return np.where(inside, product, 0.0)


def kl_cov(new: Array, old: Array, advantages: Array, mask: Array, beta: float, fraction: float) -> Array:
    """-r A, plus beta |log r| on the tokens of largest covariance (Cui et al. 2025, arXiv 2505.22617)."""
    values = np.where(mask > 0, covariance(new, advantages, mask), -np.inf)
    count = max(1, int(fraction * mask.sum()))
    chosen = values >= np.sort(values, axis=None)[-count]
    return -np.exp(new - old) * advantages + beta * np.abs(new - old) * chosen


def aggregated(losses: Array, mask: Array, how: str, tokens: float, longest: float) -> float:
    """The losses of tokens as one number, by verl's names.

    DAPO (arXiv 2503.14476) for `token-mean`, over `tokens`; GRPO (arXiv 2402.03300, eq. 3) for `seq-mean-token-mean`; Dr.
    GRPO (arXiv 2503.20783) for `seq-mean-token-sum-norm`, over the length limit `longest`.
    """
    sums, counts = (losses * mask).sum(1), mask.sum(1)
    forms = {
        "token-mean": sums.sum() / tokens,
        "seq-mean-token-mean": (sums / np.maximum(counts, 1)).mean(),
        "seq-mean-token-sum": sums.mean(),
        "seq-mean-token-sum-norm": (sums / longest).mean(),
        "micro-batch-token-mean": sums.sum() / max(counts.sum(), 1),
    }
    return float(forms[how])


def k3(new: Array, ref: Array) -> Array:
    """ref / pi - log(ref / pi) - 1 (Shao et al. 2024, arXiv 2402.03300, eq. 4; Schulman 2020)."""
    difference = ref - new
    return np.exp(difference) - difference - 1


def value_loss(values: Array, old: Array, returns: Array, mask: Array, clip: float | None) -> float:
    """Half the mean of the larger of two squared errors, of V and of V held within `clip` of the old one (PPO's code, 2017)."""
    errors = (values - returns) ** 2
    if clip is not None:
        errors = np.maximum(errors, (np.clip(values, old - clip, old + clip) - returns) ** 2)
    return float(0.5 * (errors * mask).sum() / mask.sum())


# Masks --------------------------------------------------------------------------------------------------------------------


def highest_entropies(entropies: Array, mask: Array, fraction: float) -> Array:
    """1 on the given share of tokens, those of highest entropy (Wang et al. 2025, arXiv 2506.01939)."""
    return mask * (entropies >= np.quantile(entropies[mask > 0], 1 - fraction))


def divergence_from_siblings(shares: Array, mask: Array) -> Array:
    """JS(p, q) of each token's p and q, the mean of the group's at its place, in nats (ICT: Feng 2026, arXiv 2606.19771).

    `shares` is (G, T, V): the distributions of one group. 0 outside of the mask.
    """
    values = np.zeros(mask.shape)
    for row, place in np.argwhere(mask > 0):
        own, mean = shares[row, place], shares[mask[:, place] > 0, place].mean(0)
        middle = (own + mean) / 2
        values[row, place] = 0.5 * ((own * np.log(own / middle)).sum() + (mean * np.log(mean / middle)).sum())
    return values


def highest_of_each(scores: Array, mask: Array, fraction: float) -> Array:
    """1 on the share of each completion's tokens, rounded up, that have its highest scores (ICT: Feng 2026)."""
    chosen = np.zeros_like(mask)
    for row, inside in enumerate(mask > 0):
        places = np.flatnonzero(inside)
        chosen[row, places[np.argsort(-scores[row, places])[: int(np.ceil(fraction * len(places)))]]] = 1
    return chosen


def outside_band(values: Array, mask: Array, low: float, high: float) -> Array:
    """1 on the tokens whose covariance lies outside of (low, high) (Clip-Cov: Cui et al. 2025, arXiv 2505.22617)."""
    return mask * ~((values > low) & (values < high))


# Advantages ---------------------------------------------------------------------------------------------------------------


def _of_groups(rewards: Array, rule: Callable[[Array], Array]) -> Array:
    """`rule` on the known rewards of each group; 0 where a reward is unknown."""
    advantages = np.zeros_like(rewards)
    for row, group in zip(advantages, rewards, strict=True):
        known = ~np.isnan(group)
        if known.any():
            row[known] = rule(group[known])
    return advantages


def group(rewards: Array) -> Array:
    """(r - mean) / (deviation + 1e-4) over the group, the deviation unbiased (Shao et al. 2024, arXiv 2402.03300)."""
    return _of_groups(rewards, lambda r: (r - r.mean()) / ((r.std(ddof=1) if len(r) > 1 else 0.0) + 1e-4))


def leave_one_out(rewards: Array) -> Array:
    """r minus the mean of the others (Ahmadian et al. 2024, arXiv 2402.14740, eq. 8); 0 for one alone."""

    def rule(known: Array) -> Array:
        others = [np.delete(known, place) for place in range(len(known))]
        pairs = zip(known, others, strict=True)
        return np.array([reward - rest.mean() if len(rest) else 0.0 for reward, rest in pairs])

    return _of_groups(rewards, rule)


def replay_credits(right: Array) -> Array:
    """(N, K, R) 0/1 ends of R replays behind K alternatives of N messages: the mean over replays minus that of the other
    alternatives (C3 of Zhang 2026, arXiv 2605.02801), (N, K)."""
    shares = right.mean(-1)
    return shares - (shares.sum(-1, keepdims=True) - shares) / (shares.shape[-1] - 1)


def lite_ppo(rewards: Array) -> Array:
    """r - group mean, over the deviation of all rewards of the rollout (Liu et al. 2025, arXiv 2508.08221)."""
    known = rewards[~np.isnan(rewards)]
    deviation = known.std(ddof=1) if len(known) > 1 else 0.0
    return _of_groups(rewards, lambda r: (r - r.mean()) / (deviation + 1e-4))


def whitened(values: Array, inside: Array) -> Array:
    """Mean 0 and deviation 1 over the places of `inside`, 0 elsewhere."""
    chosen = values[inside > 0]
    if not len(chosen):
        return np.zeros_like(values)
    return np.where(inside > 0, (values - chosen.mean()) / np.sqrt(chosen.var() + 1e-8), 0.0)


def reinforce_plus_plus(rewards: Array, penalties: Array, mask: Array) -> Array:
    """Reward minus the KL penalties from the token on, whitened over the tokens (Hu 2025, arXiv 2501.03262), (B, T).

    `rewards` is (B,).
    """
    inside = mask * ~np.isnan(rewards)[:, None]
    later = np.cumsum((penalties * mask)[:, ::-1], axis=1)[:, ::-1]
    return whitened(np.nan_to_num(rewards)[:, None] - later, inside)


def reinforce_plus_plus_baseline(rewards: Array, mask: Array) -> Array:
    """Reward minus group mean at every token, whitened over the tokens (Hu 2025, arXiv 2501.03262), (B, T)."""
    inside = mask * ~np.isnan(rewards).reshape(-1, 1)
    centred = _of_groups(rewards, lambda r: r - r.mean()).reshape(-1, 1)
    return whitened(centred * np.ones_like(mask), inside)


def gae(rewards: Array, values: Array, mask: Array, gamma: float, lam: float) -> Array:
    """Sum over k of (gamma lam)^k delta_(t+k), (B, T), rows padded on the right (Schulman 2015, arXiv 1506.02438, eq. 16)."""
    advantages = np.zeros_like(values)
    for row, length in enumerate(mask.sum(1).astype(int)):
        after = np.append(values[row, 1:length], 0.0)
        deltas = rewards[row, :length] + gamma * after - values[row, :length]
        for t in range(length):
            advantages[row, t] = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length))
    return advantages


def best_of(rewards: Array) -> Array:
    """1 at the first best of a group with different rewards, else 0 (Dong et al. 2023, arXiv 2304.06767, algorithm 1)."""

    def rule(known: Array) -> Array:
        return (np.arange(len(known)) == known.argmax()) * float(known.max() > known.min())

    return _of_groups(rewards, rule)


def pairwise(rewards: Array, ratios: Array, beta: float) -> Array:
    """G times minus the slope of DPO's loss at the best and the worst of each group (Guo et al. 2024, arXiv 2402.04792).

    `ratios` is (N, G): log-ratios of the completions to the reference.
    """
    advantages = np.zeros_like(rewards)
    for row, (given, ratio) in enumerate(zip(rewards, ratios, strict=True)):
        best, worst = np.nanargmax(given), np.nanargmin(given)
        if given[best] > given[worst]:
            slope = beta * sigmoid(-beta * (ratio[best] - ratio[worst])) * len(given)
            advantages[row, best], advantages[row, worst] = slope, -slope
    return advantages


def dasd(gaps: Array, entropies: Array, inside: Array) -> Array:
    """tanh((tau - H) / s) sigmoid(|D| - 1) D of a completion's tokens, D the gap over the median gap size, at most 5.

    tau is the 20 % quantile and s the mean absolute deviation of the entropies (DASD: Zhang 2026, arXiv 2605.22263).
    """
    values = np.zeros_like(gaps)
    for row, chosen in enumerate(inside > 0):
        if not chosen.any():
            continue
        gap, entropy = gaps[row, chosen], entropies[row, chosen]
        scaled = np.clip(gap / (max(np.median(np.abs(gap)), 1e-3) + 1e-6), -5, 5)
        spread = np.abs(entropy - entropy.mean()).mean()
        route = np.tanh((np.quantile(entropy, 0.2) - entropy) / (spread + 1e-6))
        values[row, chosen] = route * sigmoid(np.abs(scaled) - 1) * scaled
    return values


def segment_shares(rewards: Array, shares: Array, inside: Array, length: int) -> Array:
    """(B, T): each segment's share of its completion's reward, over the group's completions that reach it (E3RL).

    Args:
        rewards: (N, G), NaN where unknown.
        shares, inside: (B, T), of tokens.
    """
    result, flat, size = np.zeros(shares.shape), rewards.reshape(-1), rewards.shape[1]
    for first in range(0, len(flat), size):
        for start in range(0, shares.shape[1], length):
            part = slice(start, start + length)
            rows = [row for row in range(first, first + size) if inside[row, part].any() and not np.isnan(flat[row])]
            own = np.array([flat[row] * (shares * inside)[row, part].sum() for row in rows])
            if len(rows) > 1:
                result[rows, part] = ((own - own.mean()) / np.sqrt(own.var() + 1e-8))[:, None]
    return result * inside


def stability(states: Array, inside: Array) -> tuple[Array, Array]:
    """Mean cosine of successive moves, and distance over the length of the way, of the (B, S, H) steps inside (StaRPO)."""
    acf, efficiency = np.zeros(len(states)), np.zeros(len(states))
    for row, chosen in enumerate(inside > 0):
        path = states[row, chosen]
        if len(path) < 3:
            continue
        moves = path[1:] - path[:-1]
        sizes = np.sqrt((moves**2).sum(1))
        acf[row] = ((moves[1:] * moves[:-1]).sum(1) / (sizes[1:] * sizes[:-1])).mean()
        efficiency[row] = np.sqrt(((path[-1] - path[0]) ** 2).sum()) / sizes.sum()
    return acf, efficiency


def rlsd(advantages: Array, gaps: Array, mix: float, bound: float) -> Array:
    """A (1 - mix + mix clip(e^(sign(A) d), 1 - bound, 1 + bound)) (RLSD: Yang et al. 2026, arXiv 2604.03128)."""
    weights = np.clip(np.exp(np.sign(advantages) * gaps), 1 - bound, 1 + bound)
    return advantages * (1 - mix + mix * weights)


def rlrt(advantages: Array, gaps: Array, mix: float, bound: float) -> Array:
    """A (1 - mix + mix clip(e^-d, 1 - bound, 1 + bound)) where A > 0, else A (RLRT: Kim et al. 2026, arXiv 2605.10781)."""
    weights = np.clip(np.exp(-gaps), 1 - bound, 1 + bound)
    return np.where(advantages > 0, advantages * (1 - mix + mix * weights), advantages)


def constrained(rewards: Array, costs: Array, multiplier: float) -> Array:
    """(A_reward - lambda A_cost) / (1 + lambda) (Dai et al. 2023, arXiv 2310.12773), both leave-one-out."""
    unknown = np.isnan(rewards) | np.isnan(costs)
    gain, harm = (leave_one_out(np.where(unknown, np.nan, values)) for values in (rewards, costs))
    return (gain - multiplier * harm) / (1 + multiplier)


def remax(rewards: Array, greedy: Array) -> Array:
    """Reward minus that of the greedy completion (Li et al. 2023, arXiv 2310.10505); 0 where one is unknown."""
    return np.nan_to_num(rewards - greedy)


# Preference losses --------------------------------------------------------------------------------------------------------


def contrast(kind: str, d: Array, beta: float, smoothing: float = 0.0, margin: float = 0.0) -> Array:
    """Loss of pairs whose rewards differ by d.

    `hinge` (SLiC, arXiv 2305.10425, eq. 2), `ipo` (arXiv 2310.12036, eq. 17), else -log sigmoid (DPO, arXiv 2305.18290, eq. 7;
    with a margin SimPO, arXiv 2405.14734, eq. 6), smoothed by a share of flipped labels.
    """
    if kind == "hinge":
        return np.maximum(0, 1 - beta * d)
    if kind == "ipo":
        return (d - 1 / (2 * beta)) ** 2
    logits = beta * d - margin
    return -(1 - smoothing) * np.log(sigmoid(logits)) - smoothing * np.log(sigmoid(-logits))


def alpha_reward(logps: Array, alpha: float) -> Array:
    """(1 - p^-alpha) / alpha; log p at 0 (AlphaPO: Gupta et al. 2025, arXiv 2501.03884, eq. 8)."""
    return (1 - np.exp(logps) ** -alpha) / alpha if alpha else logps


def log_odds_ratio(chosen: Array, rejected: Array) -> Array:
    """Log of odds(chosen) / odds(rejected), odds = p / (1 - p) (ORPO: Hong et al. 2024, arXiv 2403.07691, eq. 4 and 5)."""
    odds = [np.exp(logps) / (1 - np.exp(logps)) for logps in (chosen, rejected)]
    return np.log(odds[0] / odds[1])


def rrhf(chosen: Array, rejected: Array) -> Array:
    """max(0, rejected - chosen) of mean log-probabilities (Yuan et al. 2023, arXiv 2304.05302, eq. 2)."""
    return np.maximum(0, rejected - chosen)


def with_reference(kind: str, w: Array, l: Array, lengths: tuple[Array, Array], beta: float, smoothing: float) -> Array:  # noqa: E741
    """TRL's losses of pairs with a reference, by its names; the papers stand in docs/methods/preference.md.

    `w` and `l` are the log-ratios of chosen and rejected completions to the reference, (B,), `lengths` their tokens.
    """
    b, e, d = beta, smoothing, w - l
    mean = w / lengths[0] - l / lengths[1]
    s, log = sigmoid, np.log
    sorted_apart = np.sort(w) - np.sort(l)
    forms: dict[str, Callable[[], Array]] = {
        "sigmoid": lambda: -log(s(b * d)),
        "hinge": lambda: np.maximum(0, 1 - b * d),
        "ipo": lambda: (mean - 1 / (2 * b)) ** 2,
        "exo_pair": lambda: s(b * d) * (log(s(b * d)) - log(1 - e)) + s(-b * d) * (log(s(-b * d)) - log(e)),
        "nca_pair": lambda: -log(s(b * w)) - 0.5 * log(s(-b * w)) - 0.5 * log(s(-b * l)),
        "robust": lambda: (-(1 - e) * log(s(b * d)) + e * log(s(-b * d))) / (1 - 2 * e),
        "bco_pair": lambda: -log(s(b * w)) - log(s(-b * l)),
        "sppo_hard": lambda: (w - 1 / (2 * b)) ** 2 + (l + 1 / (2 * b)) ** 2,
        "aot_unpaired": lambda: contrast("sigmoid", sorted_apart, b, e),
        "apo_zero": lambda: 1 - s(b * w) + s(b * l),
        "apo_down": lambda: s(b * w) + 1 - s(b * d),
        "discopop": lambda: -log(s(b * d)) * (1 - s(b * d / 0.05)) + np.exp(-b * d) * s(b * d / 0.05),
        "sigmoid_norm": lambda: -log(s(b * mean)),
    }
    return forms[kind]()


def aot(policy: Array, reference: Array, beta: float, smoothing: float) -> Array:
    """DPO's loss on sorted differences log p(w) - log p(l) of policy and reference (Melnyk et al. 2024, arXiv 2406.05882)."""
    return contrast("sigmoid", np.sort(policy) - np.sort(reference), beta, smoothing)


def bradley_terry(chosen: Array, rejected: Array, margin: Array) -> Array:
    """-log sigmoid(score of chosen - score of rejected - margin) (Ouyang et al. 2022, arXiv 2203.02155, eq. 1)."""
    return -np.log(sigmoid(chosen - rejected - margin))


def kto(r: Array, good: NDArray[np.bool_], z: float, beta: float, weights: tuple[float, float]) -> Array:
    """Weight (1 - sigmoid(beta (r - z))) of a good completion, with the sign turned of a bad one (Ethayarajh et al. 2024, arXiv
    2402.01306).

    `r` is the log-ratio to the reference, `z` the estimate of the KL, `weights` those of good and bad ones.
    """
    gained = 1 - sigmoid(beta * (r - z))
    lost = 1 - sigmoid(beta * (z - r))
    return np.where(good, weights[0] * gained, weights[1] * lost)


def regret_matching(values: Array) -> Array:
    """(2,) regrets after visits of (visits, 2) values (Hart & Mas-Colell 2000).

    p is the positive regrets over their sum, 1/2 each where that is 0; R(a) += v_a - sum_b p(b) v_b.
    """
    regrets = np.zeros(2)
    for visit in values:
        positive = np.maximum(regrets, 0)
        policy = positive / positive.sum() if positive.sum() else np.full(2, 0.5)
        regrets = regrets + visit - policy @ visit
    return regrets


def stopping_values(utilities: Array, states: NDArray[np.int_]) -> Array:
    """(runs, T) V of the state at each attempt: max of the mean utility in the state and the mean V of what followed it.

    `utilities` (runs, T); `states` (runs, T), equal numbers are equal states of the same attempt.
    """
    values = np.zeros_like(utilities)
    for attempt in reversed(range(utilities.shape[1])):
        for state in np.unique(states[:, attempt]):
            there = states[:, attempt] == state
            later = values[there, attempt + 1].mean() if attempt + 1 < utilities.shape[1] else -np.inf
            values[there, attempt] = max(utilities[there, attempt].mean(), later)
    return values


def likelier_than_right_mean(logps: Array, rewards: Array) -> Array:
    """(N, G) 1 where the reward is at least 1/2 and the value above the mean of the group's values of which that holds."""
    bonus = np.zeros_like(logps)
    for group, reward, row in zip(logps, rewards, bonus, strict=True):
        right = reward >= 0.5
        if right.any():
            row[right] = group[right] > group[right].mean()
    return bonus


def curriculum(means: Array) -> tuple[Array, Array]:
    """(T,) positions after each of T rollouts, and (T, 4) weights of the tiers there (specification of VAC-GRPO).

    `means` (T, 4): mean reward of each tier, NaN where it was not drawn. m = .9 m + .1 mean, from the first mean on; c += 1/4
    where m of the nearest tier > .7, c -= 1/4 where it is < .35, in [1, 4]; weights exp(-(j - c)^2 / (2 (1/2)^2)) + .05.
    """
    running, position, positions = np.full(4, np.nan), 1.0, []
    for seen in means:
        running = np.where(np.isnan(seen), running, np.where(np.isnan(running), seen, 0.9 * running + 0.1 * seen))
        nearest = running[int(np.floor(position + 0.5)) - 1]
        position = np.clip(position + 0.25 * (nearest > 0.7) - 0.25 * (nearest < 0.35), 1, 4)
        positions.append(position)
    path = np.array(positions)
    return path, np.exp(-((np.arange(1, 5) - path[:, None]) ** 2) / (2 * 0.5**2)) + 0.05


def f1(used: Array, expected: Array) -> float:
    """2 P R / (P + R) of two vectors of 0 and 1; 0 where nothing is shared."""
    shared = (used * expected).sum()
    if not shared:
        return 0.0
    precision, recall = shared / used.sum(), shared / expected.sum()
    return float(2 * precision * recall / (precision + recall))
