"""TRL's own use of vLLM in the loop, with a proof that the weights arrive."""

from __future__ import annotations

from typing import Any

from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.by_trl import TRLSyncProof


class ProvenVLLM:
    """Base of the trainer that has TRL ask vLLM where a run says `use_vllm`."""

    use_vllm: bool
    vllm_generation: Any
    _tokenizer: Any
    _note: Any

    def _prove_syncs(self, serving: ServingConfig) -> None:
        """Follow every sync of TRL's generation, which it also starts itself where a copy sleeps, with a proof."""
        if not self.use_vllm:
            return
        generation = self.vllm_generation
        proof, stock = TRLSyncProof(self._tokenizer, serving), generation.sync_weights

        def sync_weights() -> None:
            proof.bring(generation, stock)
            self._note(proof.metrics)

        generation.sync_weights = sync_weights
