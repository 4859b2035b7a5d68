"""A server with the part of vLLM's HTTP interface that rlllm uses. It samples with a real model, and can go wrong."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.native.engine import NativeEngine


class PolicyServer:
    """Serves the model of a folder.

    Args:
        folder: model and tokenizer.
        fault: what it does wrong when it is told to load weights; see `_load`. Empty: nothing.
        dies_after: completions after which it breaks off its connections; None lives on.
    """

    def __init__(self, folder: str, fault: str = "", dies_after: int | None = None) -> None:
        source = resolve_model(folder)
        self.folder, self.fault, self.dies_after = Path(folder), fault, dies_after
        self.tokenizer = load_tokenizer(source)
        self.scores = load_policy(source)
        self.writes = load_policy(source) if fault == "cache" else self.scores  # another model where a cache is stale
        if fault == "format":
            self.scores.to(torch.bfloat16)
        self.version = "default"
        self.loads, self.completions = 0, 0
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def restart(self) -> None:
        """As a supervisor would: with the weights it was first started with."""
        self.scores.load_state_dict(load_policy(resolve_model(str(self.folder))).state_dict())
        self.version = "default"

    def _load(self, folder: str) -> None:
        """Take the weights of a folder, or do one of the things that go wrong."""
        self.loads += 1
        weights = load_file(Path(folder) / "model.safetensors")
        layers = self.scores.config.num_hidden_layers
        half = tuple(f"model.layers.{number}." for number in range(layers // 2))
        wrong: dict[str, Any] = {
            "stale": lambda name: False,
            "half": lambda name: not name.startswith(half),
            "a-layer": lambda name: ".layers.0." not in name,
            "a-matrix": lambda name: "layers.1.mlp.down_proj" not in name,
            "norms": lambda name: "norm" not in name,
            "stale-later": lambda name: self.loads < 3,
            "half-later": lambda name: self.loads < 3 or not name.startswith(half),
        }
        if self.fault == "base":
            weights = dict(load_policy(resolve_model(str(self.folder))).state_dict())
        if self.fault == "order":
            weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].roll(1, 0)
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        taken = {name: value for name, value in weights.items() if wrong.get(self.fault, lambda name: True)(name)}
        self.scores.load_state_dict(taken, strict=False)

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        self.paths.append(path)
        if path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            self._load(body["kwargs"]["weights_path"])
            return {"results": [None]}
        if path == "/update_weight_version":
            self.version = body["new_version"]
        if path == "/tokenize":
            return {"tokens": self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]}
        if path == "/weight_checker":
            return {"checksums": {f"dp0:pp0:pcp0:tp0:{name}": _digest(w) for name, w in self.scores.named_parameters()}}
        if path != "/v1/completions":
            return self._facts(path)
        if isinstance(body["prompt"], str):
            return {"choices": [self._text(body)]}
        if "prompt_logprobs" in body:
            return {"choices": [self._scored(row) for row in body["prompt"]]}
        if body.get("ignore_eos"):
            rows = [self._continued(row, body["max_tokens"]) for row in body["prompt"]]
        else:
            rows = self._sampled(body)
        return {"choices": [_choice(index, ids, logps) for index, (ids, logps) in enumerate(rows)]}

    def _facts(self, path: str) -> Any:
        described = {"dtype": str(self.scores.dtype), "logprobs_mode": "processed_logprobs"}
        facts = {
            "/v1/models": {"data": [{"id": "policy", "max_model_len": 512}]},
            "/server_info?config_format=json": {"vllm_config": {"model_config": described}},
            "/weight_info": {"weight_version": self.version},
        }
        return facts.get(path, {})

    @torch.no_grad()
    def _scored(self, row: list[int]) -> Any:
        logps = self.scores(input_ids=torch.tensor([row])).logits[0].float().log_softmax(-1)
        return {
            "index": 0,
            "prompt_logprobs": [
                None,
                *({str(token): {"logprob": float(logps[place, token])}} for place, token in enumerate(row[1:])),
            ],
        }

    @torch.no_grad()
    def _continued(self, row: list[int], tokens: int) -> tuple[list[int], list[float]]:
        ids, said = list(row), []
        for _ in range(tokens):
            logps = self.writes(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
            ids.append(int(logps.argmax()))
            said.append(float(logps.max()))
        return ids[len(row) :], said

    def _sampled(self, body: Mapping[str, Any]) -> list[tuple[list[int], list[float]]]:
        self.completions += body["n"]
        engine = NativeEngine(self.writes, self.tokenizer)
        sampling = SamplingConfig(
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_p=body["top_p"],
            top_k=max(body["top_k"], 0),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(body["seed"])
            ids = engine.generate([body["prompt"]] * body["n"], sampling)
        assert engine.logps is not None
        return list(zip(ids, engine.logps, strict=True))

    def _text(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """As OpenAI's interface has it: text for text, without the token that ended it."""
        ids = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        sampling = SamplingConfig(max_new_tokens=body["max_tokens"], temperature=body["temperature"])
        written = NativeEngine(self.writes, self.tokenizer).generate([ids], sampling)[0]
        ended = written[-1] == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(written[:-1] if ended else written, skip_special_tokens=False)
        return {"text": text, "finish_reason": "stop" if ended else "length"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._reply({})

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: Mapping[str, Any]) -> None:
                if server.dies_after is not None and server.completions >= server.dies_after:
                    self.close_connection = True
                    return
                with server.lock:
                    content = json.dumps(server.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        return Handler


def _digest(weight: torch.Tensor) -> str:
    return hashlib.sha256(weight.detach().float().numpy().tobytes()).hexdigest()


def _choice(index: int, ids: list[int], logps: list[float]) -> dict[str, Any]:
    return {"index": index, "token_ids": ids, "logprobs": {"token_logprobs": logps}}


@contextmanager
def served(folder: str, fault: str = "", dies_after: int | None = None) -> Iterator[PolicyServer]:
    server = PolicyServer(folder, fault, dies_after)
    try:
        yield server
    finally:
        server.close()
