"""What rldoctor and rlprobe say of run directories: one JSON line each. Runs under a Python that has both, and not rlllm."""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from rl_doctor.diagnosis import diagnose as diagnose_by_rldoctor
from rl_doctor.ingest.base import load_jsonl
from rlprobe.doctor.engine import diagnose_view
from rlprobe.doctor.runview import RunView
from rlprobe.schemas import RunManifest, StepRecord

sys.modules["transformers"] = SimpleNamespace(
    TrainerCallback=object
)  # rlprobe's table of names stands beside a callback
_map_logs = import_module("rlprobe.integrations.trl")._map_logs


def of_rldoctor(folder):
    """Names of the detectors that warn or worse."""
    found = diagnose_by_rldoctor(load_jsonl(str(folder / "metrics.jsonl"))).findings
    return [finding.detector for finding in found if finding.severity.name in ("WARNING", "CRITICAL")]


def of_rlprobe(folder):
    """The same; its own callback translates the names of TRL."""
    with (folder / "metrics.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    records = [StepRecord(step=row["step"], **_map_logs({k: v for k, v in row.items() if k != "step"})) for row in rows]
    view = RunView(RunManifest(run_id=folder.name, created_at="", algorithm="grpo"), records)
    return [finding.signature_id for finding in diagnose_view(view) if str(finding.severity).upper() != "INFO"]


def asked(tool, folder):
    try:
        return tool(folder)
    except Exception as error:  # of a log that the tool cannot read, such as one without steps
        print(f"{folder.name}: {tool.__name__}: {error!r}", file=sys.stderr)
        return []


for name in sys.argv[1:]:
    folder = Path(name)
    print(json.dumps({"rldoctor": asked(of_rldoctor, folder), "rlprobe": asked(of_rlprobe, folder)}))
