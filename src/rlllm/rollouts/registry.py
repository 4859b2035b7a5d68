"""Engines and environments that ship with rlllm, by name. A static table, so that listing imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

ENGINES = Registry(
    "engine",
    "rlllm.engines",
    {
        "hf": Builtin("rlllm.rollouts.engines.hf:HFEngine", "transformers' generate, in this process"),
        "native": Builtin(
            "rlllm.rollouts.engines.native.engine:NativeEngine",
            "shared prompts, ended rows dropped, fused layers; in this process",
        ),
        "vllm": Builtin(
            "rlllm.rollouts.engines.served.in_process:VLLMEngine",
            "vLLM in this process, on a GPU; each sync of weights is proven",
        ),
        "openai": Builtin(
            "rlllm.rollouts.engines.served.openai:OpenAIEngine",
            "endpoints of a fixed model, by sampling.servers; for evaluations",
        ),
        "vllm-server": Builtin(
            "rlllm.rollouts.engines.served.server_engine:ServerEngine",
            "running vLLM servers, by rollout.servers; each sync of weights is proven",
        ),
    },
    "rlllm doctor",
)

SILENT_ENGINES = frozenset({"hf", "openai"})
"""Those of them that report no log-probabilities of what they sample (`Engine.reports_logps`)."""

ENVIRONMENTS = Registry(
    "environment",
    "rlllm.environments",
    {
        "calculator": Builtin("rlllm.rollouts.environments.calculator:Calculator", "exact arithmetic, as a tool"),
        "maze": Builtin(
            "rlllm.rollouts.environments.maze:MazeWalk", "rooms and doors, a room to be found in few moves"
        ),
        "search": Builtin(
            "rlllm.rollouts.environments.search:Search", "full-text search over documents on this machine"
        ),
        "workspace": Builtin(
            "rlllm.rollouts.environments.workspace:Workspace", "files to write, run in the sandbox, and submit"
        ),
        "guess": Builtin("rlllm.rollouts.environments.guess:Guess", "a hidden number, found by higher and lower"),
        "simulator": Builtin(
            "rlllm.rollouts.environments.simulator:Simulator",
            "a scene with a hidden number, to measure, simulate and submit, at a price a call",
        ),
        "openenv": Builtin(
            "rlllm.rollouts.environments.openenv:OpenEnv", "the environment of an OpenEnv server, by url"
        ),
        "verifiers": Builtin(
            "rlllm.rollouts.environments.verifiers:Verifiers", "an installed taskset of verifiers with its tools, by id"
        ),
    },
    "rlllm doctor",
)
