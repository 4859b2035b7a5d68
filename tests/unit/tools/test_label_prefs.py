"""AI feedback: what becomes of pairs, ties and the judge's silence, and what is reported."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.records import PreferencePair
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.rewards.config import RewardSpec
from rlllm.tools.data.candidate_pairs import CandidatePair, PreferenceLabel, kappa_of, label_rows
from rlllm.tools.data.label_prefs import LabelPrefsConfig, judge_spec, label_preferences

PAIRS = [
    {
        "prompt": "1 + 1?",
        "chosen": "#### 3",
        "rejected": "#### 2",
        "answer": "2",
        "score_chosen": 9,
        "score_rejected": 4,
    },
    {
        "prompt": "2 + 2?",
        "chosen": "#### 4",
        "rejected": "#### 5",
        "answer": "4",
        "score_chosen": 8,
        "score_rejected": 1,
    },
    {
        "prompt": "3 + 3?",
        "chosen": "#### 6",
        "rejected": "#### 6",
        "answer": "6",
        "score_chosen": 7,
        "score_rejected": 7,
    },
    {
        "prompt": "4 + 4?",
        "chosen": "#### 1",
        "rejected": "#### 2",
        "answer": "8",
        "score_chosen": 6,
        "score_rejected": 5,
    },
]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def save(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return save


def settings(data: str, tmp_path: Path, judge: Any = "gold", **more: Any) -> LabelPrefsConfig:
    values = {"data": data, "judge": judge, "output": tmp_path / "labelled.jsonl", **more}
    return LabelPrefsConfig.model_validate(values)


def read(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "labelled.jsonl").read_text().splitlines()]


def test_a_reward_labels_pairs_and_columns_that_name_a_side_follow_it(write: Any, tmp_path: Path) -> None:
    report = label_preferences(settings(write(PAIRS), tmp_path))
    first, second = read(tmp_path)
    assert (first["chosen"], first["rejected"], first["score_chosen"], first["score_rejected"]) == (
        "#### 2",
        "#### 3",
        4,
        9,
    )
    assert (first["judged_chosen"], first["judged_rejected"], first["agreement"]) == (1.75, 0.75, 1.0)
    assert (second["chosen"], second["score_chosen"]) == ("#### 4", 8)
    assert (report.pairs, report.identical, report.ties, report.unjudged, report.written) == (3, 1, 1, 0, 2)
    assert report.match is not None
    assert (report.match["estimate"], report.kappa, report.agreement) == (0.5, 0.0, None)


def test_the_file_is_data_for_train_rm_and_align(write: Any, tmp_path: Path) -> None:
    label_preferences(settings(write(PAIRS), tmp_path))
    pairs = load(DataConfig(name=str(tmp_path / "labelled.jsonl")), PreferencePair).train
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in pairs] == [
        ("#### 2", "#### 3", None),
        ("#### 4", "#### 5", None),
    ]


def test_ties_are_kept_on_request_and_marked(write: Any, tmp_path: Path) -> None:
    report = label_preferences(settings(write(PAIRS), tmp_path, ties="keep"))
    assert [row.get("tie", False) for row in read(tmp_path)] == [False, False, True]
    assert read(tmp_path)[2]["agreement"] == 0.5
    assert (report.written, report.ties) == (3, 1)


def test_every_two_of_a_list_of_responses_are_a_pair(write: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "1 + 1?", "responses": ["#### 3", "#### 2", "It is 2"], "answer": "2"}]
    report = label_preferences(settings(write(rows), tmp_path))
    assert [(row["chosen"], row["rejected"]) for row in read(tmp_path)] == [
        ("#### 2", "#### 3"),
        ("#### 3", "It is 2"),
        ("#### 2", "It is 2"),
    ]
    assert (report.pairs, report.kappa, report.match) == (3, None, None)
    assert "responses" not in read(tmp_path)[0]


WRONG_ROWS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"prompt": "q", "responses": ["one"]}], "responses at row 1 must be a list of two or more texts"),
    ([{"prompt": "q", "responses": ["one", 2]}], "responses at row 1 must be a list of two or more texts"),
    ([{"prompt": "q", "text": "one"}], "chosen"),
    ([{"prompt": "q", "chosen": "a", "rejected": "a", "answer": "1"}], "no row has two different responses"),
    ([{"prompt": "q", "chosen": "a", "rejected": "b"}], "the judge decided none of 1 pairs"),
]


@pytest.mark.parametrize(("rows", "words"), WRONG_ROWS)
def test_rows_that_cannot_be_labelled_are_named_and_nothing_is_written(
    rows: list[dict[str, Any]], words: str, write: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        label_preferences(settings(write(rows), tmp_path))
    assert not (tmp_path / "labelled.jsonl").exists()


def test_an_output_that_exists_is_kept_unless_it_may_go(write: Any, tmp_path: Path) -> None:
    (tmp_path / "labelled.jsonl").write_text("mine\n")
    with pytest.raises(ConfigError, match="the output file exists"):
        label_preferences(settings(write(PAIRS), tmp_path))
    label_preferences(settings(write(PAIRS), tmp_path, overwrite=True))
    assert len(read(tmp_path)) == 2
    with pytest.raises(ConfigError, match="the output is a JSON-lines file"):
        label_preferences(settings(write(PAIRS), tmp_path, output=tmp_path / "labels.csv"))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A chat endpoint that prefers the answer with the larger final number, and always A where they are equal or odd."""
    monkeypatch.setenv("NO_PROXY", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][0]["content"]
            first, second = question.split("[A]\n")[1].split("\n[end]")[0].split("\n[B]\n")
            better = "A" if "tie" in question or first > second else "B"
            reply = "hm" if "mute" in question else f"Well.\nVerdict: {better}"
            raw = json.dumps({"choices": [{"message": {"content": reply}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()


def test_a_judge_is_asked_in_both_orders_and_its_agreement_is_reported(
    endpoint: str, write: Any, tmp_path: Path
) -> None:
    rows = [
        {"prompt": "larger", "chosen": "2", "rejected": "1"},
        {"prompt": "larger", "chosen": "1", "rejected": "2"},
        {"prompt": "tie", "chosen": "1", "rejected": "2"},
        {"prompt": "mute", "chosen": "1", "rejected": "2"},
    ]
    judge = judge_spec(endpoint, model="m", rubric="The larger one.")
    report = label_preferences(settings(write(rows), tmp_path, judge))
    assert [(row["chosen"], row["agreement"]) for row in read(tmp_path)] == [("2", 1.0), ("2", 1.0)]
    assert (report.ties, report.unjudged, report.first_unjudged) == (1, 1, "no readable verdict: hm")
    assert report.agreement is not None
    assert (report.agreement["estimate"], report.agreement["n"]) == (pytest.approx(2 / 3), 3)
    assert report.kappa == 0.0


def test_kappa_counts_every_pair_in_both_orders() -> None:
    assert [kappa_of([True] * same + [False] * other) for same, other in ((4, 0), (3, 1), (2, 2), (0, 4), (0, 0))] == [
        1.0,
        0.5,
        0.0,
        -1.0,
        None,
    ]


def test_columns_of_an_earlier_labelling_are_replaced() -> None:
    contest = CandidatePair(
        "q", "a", "b", {"tie": True, "agreement": 0.5, "judged_chosen": 3.0, "gold_chosen": 1.0}, True
    )
    assert list(label_rows([contest], [PreferenceLabel(0.0)])) == [
        {"gold_chosen": 1.0, "prompt": "q", "chosen": "b", "rejected": "a", "agreement": 1.0}
    ]


def test_a_judge_is_named_in_the_ways_people_name_things(tiny_model: str) -> None:
    assert judge_spec("gold") == RewardSpec(name="gold")
    assert judge_spec("rewards.py:mine") == RewardSpec(name="rewards.py:mine")
    assert judge_spec("http://h/v1", model="m") == RewardSpec(
        name="judge", params={"endpoint": "http://h/v1", "model": "m"}
    )
    assert judge_spec("{name: model, path: runs/rm}") == RewardSpec(name="model", params={"path": "runs/rm"})
    assert judge_spec("{path: runs/j}", rubric="x").params == {"path": "runs/j", "rubric": "x"}
    assert judge_spec(tiny_model) == RewardSpec(name="judge", params={"path": tiny_model})
    with pytest.raises(ConfigError, match="rubric is for a generative judge, and gold is a reward"):
        judge_spec("gold", rubric="Be kind.")
    with pytest.raises(ModelError, match="no such model"):
        judge_spec("no-such-thing")
    for text in ("{name: ", "{name: 3}", "{name: model, path: x, params: {path: y}}"):
        with pytest.raises(ConfigError):
            judge_spec(text)


def test_a_scalar_reward_model_is_known_by_its_folder(tiny_model: str, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}')
    assert judge_spec(str(folder)) == RewardSpec(name="model", params={"path": str(folder)})


@pytest.mark.parametrize("answer", [2, 2.0, "2"])
def test_a_number_as_answer_is_text_to_a_reward(answer: Any, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({**PAIRS[0], "answer": answer}) + "\n", encoding="utf-8")
    report = label_preferences(
        LabelPrefsConfig.of(data={"name": str(path)}, judge="exact", output=tmp_path / "out.jsonl")
    )
    assert (report.written, report.ties) == (1, 0)
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["chosen"] == "#### 2"


def test_a_judge_that_prefers_nothing_writes_no_file(write: Any, tmp_path: Path) -> None:
    judge = {"name": "length", "budget": 1000}
    with pytest.raises(DataError, match="prefers neither response in any of 3 pairs"):
        label_preferences(
            LabelPrefsConfig.of(data={"name": str(write(PAIRS))}, judge=judge, output=tmp_path / "o.jsonl")
        )
    assert not (tmp_path / "o.jsonl").exists()


def test_a_step_model_and_an_ensemble_are_known_by_their_folders(tiny_model: str, tmp_path: Path) -> None:
    steps, several = tmp_path / "steps", tmp_path / "several"
    shutil.copytree(tiny_model, steps)
    config = json.loads((steps / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["LlamaForTokenClassification"]
    (steps / "config.json").write_text(json.dumps(config), encoding="utf-8")
    several.mkdir()
    (several / "ensemble.json").write_text(json.dumps({"members": []}), encoding="utf-8")
    assert judge_spec(str(steps)).name == "process"
    assert judge_spec(str(several)).name == "model"
