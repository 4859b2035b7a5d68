"""Launch scripts of verl and OpenRLHF become recipes: batches count completions, steps are the optimizer's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError
from rlllm.tools.import_config.recipe import Imported, import_config

CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"


def made(name: str) -> Imported:
    return import_config(CONFIGS / name, name.partition("/")[0])


def script(text: str, tool: str, folder: Path) -> Imported:
    path = folder / "run.sh"
    path.write_text(text, encoding="utf-8")
    return import_config(path, tool)


def test_a_script_of_verl_becomes_a_recipe_with_its_loss_and_batches() -> None:
    recipe = made("verl/grpo_sums.sh").recipe
    assert recipe["model"] == "org/tiny-instruct"
    assert [part["name"] for part in recipe["data"]["mix"]] == ["~/sums/a.parquet", "~/sums/b.parquet"]
    loss = {"name": "dual-clip", "clip_ratio_low": 0.2, "clip_ratio_high": 0.28, "clip_ratio_c": 3.0}
    assert recipe["loss"] == {**loss, "aggregation": "token-mean"}
    assert recipe["rewards"] == [{"name": "scores.py:score_sum"}]
    assert recipe["rollout"] == {"group_size": 4, "max_new_tokens": 256, "temperature": 1.0, "top_p": 1.0}
    trainer = recipe["trainer"]
    assert trainer["beta"] == 0.002
    assert trainer["learning_rate"] == 2e-6
    assert (trainer["per_device_train_batch_size"], trainer["gradient_accumulation_steps"]) == (8, 16)
    assert trainer["steps_per_generation"] == 32
    assert (trainer["max_steps"], trainer["save_steps"]) == (20, 10)


def test_a_hydra_config_of_verl_has_a_critic_and_an_entropy_bonus() -> None:
    imported = made("verl/ppo.yaml")
    recipe = imported.recipe
    assert (imported.verb, recipe["method"]) == ("align", "ppo")
    assert recipe["loss"] == "dapo"
    assert recipe["trainer"]["entropy_coef"] == 0.01
    assert recipe["kl"] == {"where": "reward"}
    assert recipe["critic"] == {"learning_rate": 2e-5, "clip": 0.5, "warmup_steps": 2}
    assert recipe["rewards"] == [{"name": "model", "path": "org/scores"}]
    assert recipe["lora"] == {"r": 8, "alpha": 16, "target_modules": "all-linear"}


def test_verls_supervised_script_names_nested_columns() -> None:
    recipe = made("verl/sft.sh").recipe
    assert recipe["data"]["columns"] == {"prompt": "extra_info.question", "completion": "extra_info.answer"}
    assert recipe["trainer"]["gradient_accumulation_steps"] == 4


def test_old_flags_of_openrlhf_mean_the_same_and_keys_of_services_are_hidden() -> None:
    imported = made("openrlhf/ppo_old.sh")
    recipe = imported.recipe
    assert (imported.verb, recipe["method"], recipe["model"]) == ("align", "ppo", "org/tiny-sft")
    assert recipe["kl"] == {"where": "reward", "target": 6, "horizon": 10000}
    assert recipe["trainer"]["steps_per_generation"] == 32
    assert recipe["advantage"] == {"name": "gae", "gamma": 1.0, "lam": 0.95}
    assert "0123456789abcdef" not in imported.text()


def test_a_group_script_of_openrlhf_mixes_prompts_and_takes_its_reward_function() -> None:
    recipe = made("openrlhf/group.sh").recipe
    assert recipe["method"] == "grpo"
    assert [(part["name"], part["weight"]) for part in recipe["data"]["mix"]] == [("a.jsonl", 0.25), ("b.jsonl", 0.75)]
    assert recipe["data"]["mix"][0]["columns"] == {"prompt": "prompt", "answer": "label"}
    assert recipe["rewards"] == [{"name": "scores.py:reward_func"}]
    assert (recipe["trainer"]["epsilon"], recipe["trainer"]["epsilon_high"]) == (0.2, 0.27)
    assert recipe["sampler"] == {"name": "dynamic"}


def test_a_command_in_a_here_document_is_found() -> None:
    recipe = made("openrlhf/dpo.sh").recipe
    assert recipe["trainer"]["loss_type"] == ["sigmoid", "sft"]
    assert recipe["trainer"]["loss_weights"] == [1.0, 0.1]
    assert recipe["output_dir"] == "out/dpo"


VERL = (
    "python3 -m verl.trainer.main_ppo data.train_files=a actor_rollout_ref.model.path=m algorithm.adv_estimator=grpo "
)
REFUSED = [
    ("verl", "echo hello\n", "starts no training"),
    ("verl", "python3 -m verl.trainer.main_generation a=1\n", "starts no training"),
    ("verl", VERL.replace("=grpo", "=gpg"), "unknown adv_estimator"),
    ("verl", VERL + "actor_rollout_ref.rollout.n=1", "compares completions of one prompt"),
    ("verl", VERL + "actor_rollout_ref.actor.freeze_vision_tower=True", "training of a part of the weights"),
    ("verl", VERL + "actor_rollout_ref.rollout.multi_turn.enable=True", "several turns"),
    ("verl", VERL + "actor_rollout_ref.rollout.n=$(nproc)", "without the shell"),
    (
        "verl",
        VERL + "actor_rollout_ref.rollout.n=4 actor_rollout_ref.actor.policy_loss.loss_mode=clip_cov",
        "of verl's own",
    ),
    ("verl", VERL + "actor_rollout_ref.rollout.n_agent=5 do_search=true max_turns=2", "a search engine in a rollout"),
    ("openrlhf", "python3 -m openrlhf.cli.train_sft --pretrain m --dataset a,b --dataset_probs ${P}", "no shares"),
    ("openrlhf", "python3 -m openrlhf.cli.train_ppo_ray --pretrain m", "names no data set"),
    ("openrlhf", "python3 -m openrlhf.cli.train_sft --dataset d", "names no model"),
    ("openrlhf", "python3 -m openrlhf.cli.train_ppo_ray --pretrain m --agent_func_path a.py", "an agent"),
    (
        "openrlhf",
        "python3 -m openrlhf.cli.train_sft --pretrain m --dataset d --max_len 4 --data.max_len 8",
        "given twice",
    ),
    (
        "openrlhf",
        "python3 -m openrlhf.cli.train_ppo_ray --pretrain m --prompt_data d --remote_rm_url http://h",
        "a server",
    ),
]


@pytest.mark.parametrize(("tool", "text", "message"), REFUSED)
def test_scripts_without_a_recipe_are_refused(tool: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        script(text, tool, tmp_path)


def test_a_script_is_read_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script(f"touch {mark}\nX=$(touch {mark})\n{VERL} actor_rollout_ref.rollout.n=2\n", "verl", tmp_path)
    assert not mark.exists()


def test_the_recipe_of_dapo_is_a_command_of_verls(tmp_path: Path) -> None:
    text = VERL.replace("verl.trainer.main_ppo", "recipe.dapo.main_dapo")
    more = "data.train_batch_size=64 data.gen_batch_size=192 algorithm.filter_groups.enable=True"
    overlong = "reward_model.overlong_buffer.enable=True reward_model.overlong_buffer.len=16"
    recipe = script(f"{text} actor_rollout_ref.rollout.n=2 {more} {overlong}", "verl", tmp_path).recipe
    assert recipe["sampler"] == {"name": "dynamic"}
    assert recipe["rewards"][1] == {"name": "overlong", "weight": 1.0, "limit": 512, "cache": 16}


@pytest.mark.parametrize(("prompts", "mini", "steps"), [(16, 256, 1), (64, 32, 2), (64, 64, 1)])
def test_a_mini_batch_of_verls_is_at_most_the_rollout(tmp_path: Path, prompts: int, mini: int, steps: int) -> None:
    sizes = f"data.train_batch_size={prompts} actor_rollout_ref.actor.ppo_mini_batch_size={mini}"
    imported = script(f"{VERL} actor_rollout_ref.rollout.n=4 {sizes}", "verl", tmp_path)
    trainer = imported.recipe["trainer"]
    assert trainer["steps_per_generation"] == steps * trainer["gradient_accumulation_steps"] == prompts
    assert ("a rollout has fewer prompts" in imported.text()) == (mini > prompts)


def test_prompts_that_search_r1_repeats_are_a_group_and_keys_that_verl_lacks_are_said_to_be_so(tmp_path: Path) -> None:
    imported = script(f"{VERL} actor_rollout_ref.rollout.n_agent=5 do_search=false max_turns=1", "verl", tmp_path)
    assert imported.recipe["rollout"]["group_size"] == 5
    assert "max_turns=1: no key of verl's" in imported.text()


@pytest.mark.parametrize(
    "text",
    [
        'srun bash -c "{}"',
        'ray job submit --runtime-env-json=\'{{\n  "working_dir": "x"\n}}\' -- {}',
        "{} \\\n# the end",
    ],
)
def test_a_command_in_a_quote_or_behind_one_is_read(tmp_path: Path, text: str) -> None:
    command = "python3 -u -m openrlhf.cli.train_dpo --pretrain m --dataset d --beta 0.3"
    recipe = script(text.format(command) + "\n", "openrlhf", tmp_path).recipe
    assert (recipe["model"], recipe["data"]["name"], recipe["trainer"]["beta"]) == ("m", "d", 0.3)


@pytest.mark.parametrize("flag", ["--pretrain_mode", "--model.pretrain_mode_enable"])
def test_openrlhf_s_pretraining_reads_texts(tmp_path: Path, flag: str) -> None:
    command = f"python3 -m openrlhf.cli.train_sft --pretrain m --dataset d --input_key question {flag}"
    assert script(command, "openrlhf", tmp_path).recipe["data"]["columns"] == {"text": "question"}


def test_the_module_may_stand_in_a_variable(tmp_path: Path) -> None:
    lines = ['ENTRY=${ENTRY:-"-m verl.trainer.sft_trainer"}', "torchrun ${ENTRY} data.train_files=a model.path=m"]
    recipe = script("\n".join(lines) + "\n", "verl", tmp_path).recipe
    assert (recipe["method"], recipe["model"], recipe["data"]["name"]) == ("sft", "m", "a")


def test_columns_of_images_are_named_where_they_have_another_name(tmp_path: Path) -> None:
    grouped = VERL + "actor_rollout_ref.rollout.n=2 "
    assert "columns" not in script(grouped + "data.image_key=images", "verl", tmp_path).recipe["data"]
    named = script(grouped + "data.image_key=pictures", "verl", tmp_path)
    assert named.recipe["data"]["columns"] == {"images": "pictures"}
    command = "python3 -m openrlhf.cli.train_ppo_ray --pretrain m --prompt_data d --data.image_key pictures"
    reward = tmp_path / "reward.py"
    reward.write_text("def reward_func(queries, prompts, labels):\n    return [0.0 for _ in queries]\n")
    made = script(f"{command} --remote_rm_url {reward}", "openrlhf", tmp_path)
    assert made.recipe["data"]["columns"]["images"] == "pictures"


CORRECTIONS = [
    (
        "rollout_is=token algorithm.rollout_correction.rollout_is_threshold=3.0",
        {"rollout_is": "token", "rollout_is_threshold": 3.0},
    ),
    (
        "rollout_rs=seq_mean_k1 algorithm.rollout_correction.rollout_rs_threshold=0.99_1.01",
        {"rollout_rs": "seq_mean_k1", "rollout_rs_threshold": "0.99_1.01"},
    ),
    # an earlier version of verl: bounds of trainer over sampler
    (
        "rollout_rs=geometric algorithm.rollout_correction.rollout_rs_threshold=4 "
        "algorithm.rollout_correction.rollout_rs_threshold_lower=0.5",
        {"rollout_rs": "seq_mean_k1", "rollout_rs_threshold": "0.25_2"},
    ),
    ("rollout_is=null algorithm.rollout_correction.rollout_is_threshold=2.0", None),
]


@pytest.mark.parametrize(("words", "wanted"), CORRECTIONS)
def test_verls_correction_of_the_mismatch_keeps_its_keys(
    words: str, wanted: dict[str, object] | None, tmp_path: Path
) -> None:
    estimator = "algorithm.adv_estimator=grpo"
    text = (CONFIGS / "verl/grpo_sums.sh").read_text(encoding="utf-8")
    given = text.replace(estimator, f"{estimator} algorithm.rollout_correction.{words}")
    recipe = script(given, "verl", tmp_path).recipe
    assert recipe.get("rollout_correction") == wanted
