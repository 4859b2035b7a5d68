"""`EngineLM`: a model for lm-evaluation-harness whose texts come from this project's engines.

Only two things differ from the harness's own backend (HFLM), whose tokenisation, windows, truncation and templates are
inherited. The tokens of a context are computed once for all continuations that are asked of it, and logits only where a
continuation is scored; and text is written by an engine. What an engine does not offer (beams, penalties, a cache it does
not know) the backend does.

Imported only where the harness is installed and a model is loaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from torch import Tensor

from rlllm.core.errors import ConfigError
from rlllm.core.watchdog import sign
from rlllm.policies.padding import padded
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import sample_completions
from rlllm.rollouts.engines.loading import open_engine
from rlllm.rollouts.engines.native.generic_decoder import refusal

LOGITS = 1 << 26
"""Logits computed at once, at most: 256 MB in float32."""
FIRST_TOKENS = 64
"""Tokens written before stop strings are looked for; twice as many each time after that."""
_UNDERSTOOD = {"do_sample", "temperature", "top_p", "top_k", "until", "max_gen_toks"}

_Request = tuple[Any, list[int], list[int]]
"""A request as the harness makes it: its texts (not used), tokens of the context, tokens of the continuation."""
_Prefix = tuple[int, ...]
_Tail = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-probabilities at the tokens of a tail: (tokens, V), and the likeliest token at each."""

    logps: Tensor
    likeliest: list[int]

    def of(self, continuation: list[int]) -> tuple[float, bool]:
        """Log-likelihood of the tokens that follow, and whether each is the likeliest."""
        targets = torch.tensor(continuation, device=self.logps.device).unsqueeze(1)
        total = self.logps[-len(continuation) :].gather(1, targets).sum()
        return float(total), self.likeliest[-len(continuation) :] == continuation


class EngineLM(HFLM):
    """`lm_eval.api.model.LM` on a loaded model.

    Args:
        model: a transformers causal language model.
        tokenizer: its tokenizer, with a padding token.
        sampling: `engine` and `batch_size` are taken from it; all else the task says.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: SamplingConfig) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=sampling.batch_size)
        self.settings = sampling
        self.engine = open_engine(sampling.engine, model, tokenizer, sampling)
        self.shares = refusal(model) is None
        taken = inspect.signature(model.forward).parameters
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self.positioned = "position_ids" in taken

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: Sequence[_Request], disable_tqdm: bool = True, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation after its context, and whether greedy decoding would write it."""
        if not self.shares:
            return super()._loglikelihood_tokens(list(requests), disable_tqdm=True, override_bs=override_bs)
        for texts, _, continuation in requests:
            if not 0 < len(continuation) <= self.max_length:
                raise ConfigError(
                    f"the task asks how likely a text of {len(continuation)} tokens is, and the model takes 1 to "
                    f"{self.max_length}",
                    given=str(texts)[-200:],
                    hint="the harness cannot score it either: leave the document out, or take a model with a longer context",
                )
        places = [split(context, continuation, self.max_length) for _, context, continuation in requests]
        askers: dict[tuple[_Prefix, _Tail], list[int]] = {}
        for index, place in enumerate(places):
            askers.setdefault(place, []).append(index)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for batch in batches(askers, override_bs or self.settings.batch_size, self._most_tokens()):
            for place, scored in zip(batch, self._scored(batch), strict=True):
                for index in askers[place]:
                    answers[index] = scored.of(requests[index][2])
        return answers

    def _most_tokens(self) -> int:
        return max(1, LOGITS // self.model.get_input_embeddings().num_embeddings)

    def _scored(self, batch: Sequence[tuple[_Prefix, _Tail]]) -> Iterator[Scored]:
        """The tails of a batch, each after its prefix; prefixes are all empty, or none of them is."""
        sign()
        tails = [tail for _, tail in batch]
        ids, mask = (torch.tensor(part, device=self.device) for part in padded(tails, 0))
        if batch[0][0]:
            logits = self._after_prefixes([prefix for prefix, _ in batch], ids, mask)
        else:
            logits = self.model(input_ids=ids, attention_mask=mask).logits
        logps = logits.log_softmax(-1, dtype=self.softmax_dtype)
        best = logps.argmax(-1).tolist()
        for row, tail in enumerate(tails):
            yield Scored(logps[row, : len(tail)], best[row][: len(tail)])

    def _after_prefixes(self, prefixes: Sequence[_Prefix], ids: Tensor, mask: Tensor) -> Tensor:
        """(rows, T, V) logits of tails whose prefixes are computed once for all rows that share them."""
        from transformers.cache_utils import DynamicCache

        distinct = list(dict.fromkeys(prefixes))
        numbers = {prefix: number for number, prefix in enumerate(distinct)}
        owners = torch.tensor([numbers[prefix] for prefix in prefixes], device=self.device)
        before, there = (torch.tensor(part, device=self.device) for part in padded(distinct, 0, left=True))
        cache = DynamicCache(config=self.model.config)
        self._forward(before, there, cache, **self.last_only)
        cache.batch_select_indices(owners)
        return self._forward(ids, torch.cat((there[owners], mask), 1), cache)

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any, **options: Any) -> Tensor:
        """Logits of tokens that follow those in the cache; `mask` (rows, all tokens) leaves padding out."""
        if self.positioned:
            options["position_ids"] = (mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.size(1) :]
        output = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
        return output.logits

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        """What the model writes after each context, up to the first stop string."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(index)
        texts = [""] * len(requests)
        for members in groups.values():
            chosen = [requests[index] for index in members]
            for index, text in zip(members, self._written(chosen), strict=True):
                texts[index] = text
        return texts

    def _written(self, requests: list[Any]) -> list[str]:
        """Texts for requests that ask for the same way of writing."""
        settings = normalize_gen_kwargs(requests[0].args[1], self.max_gen_toks)
        sampling = self._sampling(settings)
        if sampling is None:
            return super().generate_until(requests, disable_tqdm=True)
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(settings.get("until"), eos=end)
        room = self.max_length - sampling.max_new_tokens
        if room <= 0:
            raise ConfigError(
                "the task asks for more tokens than the model's context holds",
                given=f"{sampling.max_new_tokens} of {self.max_length}",
                hint="lower max_gen_toks in the task file",
            )
        prompts = self._encoded([request.args[0] for request in requests], room)
        written = self._continued(prompts, sampling, [stop for stop in until if stop and stop != end])
        return [postprocess_generated_text(self.tok_decode(ids), until, None) for ids in written]

    def _encoded(self, contexts: list[str], room: int) -> list[list[int]]:
        """Token ids of each context, its last `room` where there are more; tokenised as the backend does."""
        rows: list[list[int]] = []
        size = self.settings.batch_size
        for start in range(0, len(contexts), size):
            part = contexts[start : start + size]
            ids, mask = self.tok_batch_encode(part, left_truncate_len=room, truncation=self.truncation)
            rows += [row[unpadded.bool()].tolist() for row, unpadded in zip(ids, mask, strict=True)]
        return rows

    def _sampling(self, settings: Mapping[str, Any]) -> SamplingConfig | None:
        """The settings as an engine takes them; None if it has no such settings."""
        if settings.keys() - _UNDERSTOOD:
            return None
        defaults = self.model.generation_config
        return self.settings.model_copy(
            update={
                "max_new_tokens": settings["max_gen_toks"],
                "temperature": float(settings.get("temperature") or 0.0) if settings["do_sample"] else 0.0,
                "top_p": float(settings.get("top_p") or defaults.top_p or 1.0),
                "top_k": int(settings.get("top_k") or defaults.top_k or 0),
            }
        )

    def _continued(self, prompts: list[list[int]], sampling: SamplingConfig, until: list[str]) -> list[list[int]]:
        """Completions up to an end, or a little past the first stop string: engines know tokens and no strings."""
        written: list[list[int]] = [[] for _ in prompts]
        going, used = list(range(len(prompts))), 0
        part = FIRST_TOKENS if until else sampling.max_new_tokens
        while going and used < sampling.max_new_tokens:
            part = min(part, sampling.max_new_tokens - used)
            prefixes = [prompts[index] + written[index] for index in going]
            limited = sampling.model_copy(update={"max_new_tokens": part})
            continuations = sample_completions(self.engine, prefixes, limited)
            for index, ids in zip(going, continuations, strict=True):
                written[index] += ids
            used, part = used + part, 2 * part
            stops = self.engine.stop_ids()
            going = [index for index in going if not self._ended(written[index], used, stops, until)]
        return written

    def _ended(self, ids: list[int], used: int, stops: set[int], until: list[str]) -> bool:
        if len(ids) < used or ids[-1] in stops:
            return True
        text = self.tok_decode(ids)
        return any(stop in text for stop in until)


def split(context: list[int], continuation: list[int], limit: int) -> tuple[_Prefix, _Tail]:
    """What is computed once for a context, and the tokens after which the tokens of the continuation are scored.

    Args:
        context: at least one token.
        continuation: at least one token, at most `limit`.
        limit: tokens the model takes; where there are more, the first ones are left out.

    Returns:
        All of the context but its last token; and that one with the continuation but its last token.
    """
    whole = (context + continuation)[-(limit + 1) :]
    start = len(whole) - len(continuation) - 1
    return tuple(whole[:start]), tuple(whole[start:-1])


def batches(
    places: Mapping[tuple[_Prefix, _Tail], Any], rows: int, tokens: int
) -> Iterator[Sequence[tuple[_Prefix, _Tail]]]:
    """Tails in batches, those of one prefix together, longest prefixes first; empty prefixes never with others.

    Args:
        places: the prefixes and tails.
        rows: tails in a batch, at most.
        tokens: tokens of the padded tails of a batch, at most, unless one tail alone has more.
    """
    groups: dict[_Prefix, list[tuple[_Prefix, _Tail]]] = {}
    for place in places:
        groups.setdefault(place[0], []).append(place)
    batch: list[tuple[_Prefix, _Tail]] = []
    widest = 0
    for prefix in sorted(groups, key=len, reverse=True):
        for place in groups[prefix]:
            width = max(widest, len(place[1]))
            full = len(batch) == rows or width * (len(batch) + 1) > tokens
            if batch and (full or bool(batch[0][0]) != bool(prefix)):
                yield batch
                batch, width = [], len(place[1])
            batch.append(place)
            widest = width
    if batch:
        yield batch
