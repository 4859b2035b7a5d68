"""Run directories: nothing is overwritten unasked, and nothing half written or tampered with is trusted."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core import run_lock
from rlllm.core.errors import ExitCode, RunDirectoryError
from rlllm.core.runs import (
    MANIFEST,
    Run,
    append_jsonl,
    create,
    list_runs,
    open_run,
    read_json,
    read_jsonl,
    verify_manifest,
    write_json,
    write_manifest,
    write_text,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with settings of digest "d1", as a stage leaves it."""
    made = create(tmp_path / "run", digest="d1")
    run_lock.release(made.path)
    write_json(made.path / "config.json", {"digest": "d1", "stage": "sft", "settings": {}})
    made.set_status("running", stage="sft")
    return made


def checkpoint(run: Run, step: int, *, sealed: bool = True) -> Path:
    folder = run.checkpoints / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([step]) * 100)
    (folder / "deep" / "rng.pth").write_bytes(b"dice")
    if sealed:
        write_manifest(folder)
    return folder


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    assert create(tmp_path / "a" / "b", digest="d").path.is_dir()


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    assert create(tmp_path, digest="d").path == tmp_path


def test_a_tilde_means_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert create(Path("~/runs/a"), digest="d").path == tmp_path / "runs" / "a"


REFUSED = [
    ("run", {}, "the output directory is not empty", "add --resume"),
    ("run", {"resume": True, "digest": "d2"}, "the settings differ", "--overwrite"),
    ("foreign", {}, "the output directory is not empty", "choose another --output-dir"),
    ("foreign", {"overwrite": True}, "will not overwrite a directory that is not a run", "choose another"),
    ("foreign", {"resume": True}, "nothing to resume", "leave out --resume"),
    ("nothing", {"resume": True}, "nothing to resume", "leave out --resume"),
    ("empty", {"resume": True}, "nothing to resume", "leave out --resume"),
    ("file", {}, "the output directory is a file", ""),
    ("file", {"overwrite": True}, "the output directory is a file", ""),
    ("file/below", {}, "cannot make the output directory", ""),
]


@pytest.mark.parametrize(("name", "options", "what", "hint"), REFUSED)
def test_a_directory_that_is_in_use_is_refused(
    run: Run, name: str, options: dict[str, Any], what: str, hint: str
) -> None:
    root = run.path.parent
    (root / "foreign").mkdir()
    (root / "foreign" / "thesis.txt").write_text("ten years of work")
    (root / "empty").mkdir()
    (root / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=what) as caught:
        create(root / name, **{"digest": "d1", **options})
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == ExitCode.USAGE
    assert (root / "foreign" / "thesis.txt").read_text() == "ten years of work"
    assert (run.path / "config.json").exists()


def test_overwrite_removes_all_an_earlier_run_left(run: Run) -> None:
    checkpoint(run, 2)
    made = create(run.path, digest="d2", overwrite=True)
    assert [path.name for path in made.path.iterdir()] == [run_lock.LOCK]
    run_lock.release(made.path)
    assert list(made.path.iterdir()) == []


def test_resume_with_the_same_settings_keeps_every_file(run: Run) -> None:
    checkpoint(run, 2)
    before = sorted(run.path.rglob("*"))
    assert create(run.path, digest="d1", resume=True) == run
    run_lock.release(run.path)
    assert sorted(run.path.rglob("*")) == before


def test_resume_wins_over_overwrite(run: Run) -> None:
    create(run.path, digest="d1", resume=True, overwrite=True)
    assert (run.path / "config.json").exists()


def test_the_newest_sealed_checkpoint_counts(run: Run) -> None:
    for step in (2, 10, 9):
        checkpoint(run, step)
    assert run.latest_checkpoint() == run.checkpoints / "checkpoint-10"


@pytest.mark.parametrize("name", ["checkpoint-9-backup", "checkpoint-tmp", "checkpoint-", "checkpoint-x1"])
def test_other_folders_beside_the_checkpoints_are_passed_over(run: Run, name: str) -> None:
    good = checkpoint(run, 2)
    shutil.copytree(good, run.checkpoints / name)
    (run.checkpoints / "checkpoint-99").write_text("a file")
    assert run.latest_checkpoint() == good


def test_without_checkpoints_there_is_none(run: Run) -> None:
    assert run.latest_checkpoint() is None


def test_a_half_written_checkpoint_is_passed_over(run: Run) -> None:
    good = checkpoint(run, 2)
    assert verify_manifest(checkpoint(run, 4, sealed=False)) == "has no manifest: it was not finished"
    assert run.latest_checkpoint() == good


TAMPERED = [
    ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x00"), "has a changed model."),
    ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1]), "has a changed model.safetensors"),
    ("model.safetensors", lambda path: path.write_bytes(b""), "has a changed model.safetensors"),
    ("deep/rng.pth", lambda path: path.unlink(), "lacks deep/rng.pth"),
    (MANIFEST, lambda path: path.write_text(path.read_text()[:-9]), "has an unreadable manifest"),
    (MANIFEST, lambda path: path.write_bytes(b"\xff"), "has an unreadable manifest"),
    (MANIFEST, lambda path: path.unlink(), "has no manifest"),
    (MANIFEST, lambda path: path.write_text("[]"), "has an unreadable manifest"),
    (MANIFEST, lambda path: path.write_text("3"), "has an unreadable manifest"),
    (MANIFEST, lambda path: path.write_text("{}"), "has an empty manifest"),
    ("model.safetensors", lambda path: (path.unlink(), path.mkdir()), "lacks model.safetensors"),
]


@pytest.mark.parametrize(("name", "change", "reason"), TAMPERED)
def test_a_checkpoint_that_was_changed_is_passed_over(run: Run, name: str, change: Any, reason: str) -> None:
    good, bad = checkpoint(run, 2), checkpoint(run, 4)
    change(bad / name)
    assert (verify_manifest(bad) or "").startswith(reason)
    assert verify_manifest(good) is None
    assert run.latest_checkpoint() == good


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=40)
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    folder = checkpoint(Run(tmp_path_factory.mktemp("run")), 1)
    path = folder / ("model.safetensors" if position % 2 else "deep/rng.pth")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    assert verify_manifest(folder) is not None


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, [{"step": 1}, {"step": 2}])
    os.truncate(path, path.stat().st_size - 3)
    assert list(read_jsonl(path)) == [{"step": 1}]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert list(read_jsonl(tmp_path / "none.jsonl")) == []


def test_lines_hold_any_text_on_one_line_each(tmp_path: Path) -> None:
    rows = [{"completion": "a\nb\u2028c\x85 \u00e9 \U0001f40e"}, {"completion": "\r\n"}]
    append_jsonl(tmp_path / "x.jsonl", rows)
    assert list(read_jsonl(tmp_path / "x.jsonl")) == rows


def test_rewinding_drops_what_came_after_the_step_and_a_cut_line(run: Run) -> None:
    for name in ("metrics.jsonl", "samples.jsonl"):
        append_jsonl(run.path / name, [{"step": step, "x": step} for step in (1, 2, 2, 3, 4)])
        os.truncate(run.path / name, (run.path / name).stat().st_size - 1)
    run.rewind(2)
    append_jsonl(run.path / "metrics.jsonl", [{"step": 3, "x": "again"}])
    assert [row["x"] for row in run.metrics()] == [1, 2, 2, "again"]
    assert [row["x"] for row in run.samples()] == [1, 2, 2]


BROKEN = [
    (b'{"step": 1, "completion": "\xe4\xbd', [1, 2], []),  # cut inside a character
    (b"\0" * 4096, [1, 2], []),  # after a loss of power
    (b"\0" * 4096 + b"\n", [1, 2], [3]),
    (b'{"step": 2, "x"\n{"step": 3}\n', [1, 2, 3], [3]),
    (b'[1]\n7\nnull\n{"step": 3}\n', [1, 2, 3], [3, 4, 5]),
    (b"[" * 100_000 + b"\n", [1, 2], [3]),
]


@pytest.mark.parametrize(("end", "steps", "lost"), BROKEN)
def test_lines_that_cannot_be_read_are_left_out_and_counted(
    run: Run, end: bytes, steps: list[int], lost: list[int]
) -> None:
    path = run.path / "samples.jsonl"
    append_jsonl(path, [{"step": 1}, {"step": 2}])
    with path.open("ab") as file:
        file.write(end)
    broken: list[int] = []
    assert [row["step"] for row in read_jsonl(path, broken)] == steps
    assert broken == lost
    dropped = run.rewind(3)
    assert [row["step"] for row in run.samples()] == steps
    assert len(dropped) == bool(lost)
    assert run.damages() == []
    append_jsonl(path, [{"step": 4}])
    assert [row["step"] for row in run.samples()] == [*steps, 4]


def test_a_kill_while_a_log_is_rewound_loses_nothing(run: Run) -> None:
    append_jsonl(run.path / "metrics.jsonl", [{"step": step} for step in (1, 2, 3)])
    (run.path / "metrics.jsonl.partial").write_text('{"step": 1}\n{"st')  # as a kill inside of a rewind leaves it
    run.rewind(2)
    assert [row["step"] for row in run.metrics()] == [1, 2]


DAMAGES = [(b"", "it is empty"), (b"\0" * 50, "it is empty"), (b'{"a": ', "Expecting value"), (b"[1]", "no object")]


@pytest.mark.parametrize(("content", "why"), DAMAGES)
@pytest.mark.parametrize("name", ["status.json", "verdict.json", "results.json"])
def test_a_damaged_file_of_an_ended_run_is_named_and_the_others_are_read(
    run: Run, name: str, content: bytes, why: str
) -> None:
    (run.path / name).write_bytes(content)
    assert (run.verdict, run.results, run.config["digest"]) == ({}, {}, "d1")
    assert run.state == ("unknown" if name == "status.json" else "killed")
    assert [name in text and why in text for text in run.damages()] == [True]


MISFITS = [
    ("status.json", {"state": 3}, "state is 3, and no text"),
    ("verdict.json", {"reasons": 3}, "reasons is 3, and no list"),
    ("verdict.json", {"outcome": "better"}, 'outcome is "better", and no object'),
    ("verdict.json", {"diagnostics": {"steps_done": [7]}}, "diagnostics.steps_done is [7], and no number"),
    ("results.json", {"measures": [{"higher_is_better": True}]}, "measures.0.name is missing"),
    (
        "results.json",
        {"measures": [{"name": "pass@1", "after": {"estimate": "1"}}]},
        'after.estimate is "1", and no number',
    ),
    ("measured_after.json", [{"name": "pass@1", "scores": [1.0]}], "0.scores.0 is 1.0, and no list"),
    ("lineage.json", {"rewards": {"names": {}}}, "rewards.names is {}, and no list"),
    ("env.json", {"packages": None}, "packages is null, and no object"),
]


@pytest.mark.parametrize(("name", "content", "why"), MISFITS)
def test_json_that_is_not_what_the_file_holds_is_damage(run: Run, name: str, content: Any, why: str) -> None:
    write_json(run.path / name, content)
    with pytest.raises(RunDirectoryError, match=re.escape(why)) as caught:
        run.read(name)
    assert run.damages() == [caught.value.what]
    assert run.read_or_empty(name) == {}


def test_a_row_that_is_not_what_the_log_holds_is_counted_as_broken(run: Run) -> None:
    rows = [{"step": 1, "reward": 0.5}, {"step": "two"}, {"step": 3, "reward": None, "unknown": [1]}]
    append_jsonl(run.path / "metrics.jsonl", rows)
    assert run.metrics() == [rows[0], rows[2]]
    assert run.damages() == ["metrics.jsonl is damaged: line 2 cannot be read"]


@pytest.mark.parametrize(("content", "why"), DAMAGES)
def test_damaged_settings_are_refused_by_name(run: Run, content: bytes, why: str) -> None:
    (run.path / "config.json").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=f"config.json is damaged: .*{why}") as caught:
        create(run.path, digest="d1", resume=True)
    assert caught.value.given == run.path / "config.json"
    assert not (run.path / run_lock.LOCK).exists()


def test_rewinding_to_the_start_drops_everything(run: Run) -> None:
    append_jsonl(run.path / "metrics.jsonl", [{"step": 1}])
    run.rewind(0)
    assert run.metrics() == []


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "status.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Circular"):
        write_json(path, circular())
    assert read_json(path) == {"a": 1}
    assert json.loads(path.read_text()) == {"a": 1}


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def test_objects_json_does_not_know_become_their_text(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"path": Path("a/b")})
    assert read_json(tmp_path / "x.json") == {"path": "a/b"}


def test_a_run_that_wrote_nothing_yet_is_unknown_and_not_ok(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert (run.status, run.verdict, run.ok, run.results) == ({"state": "unknown"}, {}, False, {})


def test_opening_what_is_no_run_says_how_to_list_runs(tmp_path: Path, run: Run) -> None:
    assert open_run(str(run.path)) == run
    with pytest.raises(RunDirectoryError, match="no run in this directory") as caught:
        open_run(tmp_path / "elsewhere")
    assert caught.value.hint == "list runs with: rlllm runs ls"


def test_runs_are_listed_oldest_first_down_to_the_steps_of_a_pipeline(tmp_path: Path) -> None:
    for age, name in enumerate(["late", "demo/sft", "early"]):
        run = create(tmp_path / name, digest="d")
        run.set_status("done")
        os.utime(run.path / "status.json", (1000 - age, 1000 - age))
    assert [str(run.path.relative_to(tmp_path)) for run in list_runs(tmp_path)] == ["early", "demo/sft", "late"]


def test_a_page_that_goes_into_a_pipe_leaves_the_pipe_there(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write_text(pipe, "a page")
    reader.join()
    assert read == ["a page"]
    assert pipe.is_fifo()


def test_rows_and_state_keep_what_only_looks_like_a_key(run: Run, tmp_path: Path) -> None:
    looks = "hf_" + "aB3dE6gH9kL2mN5pQ8sT1vW4"
    append_jsonl(tmp_path / "rows.jsonl", [{"prompt": looks}])
    write_json(tmp_path / "state.json", {"buffer": looks})
    run.write("verdict.json", {"reasons": [f'said "{looks}"']})
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [{"prompt": looks}]
    assert read_json(tmp_path / "state.json") == {"buffer": looks}
    assert read_json(run.path / "verdict.json") == {"reasons": ['said "<redacted>"']}
