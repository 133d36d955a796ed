"""Adapters that raison writes and merges, by the word of PEFT and transformers.

    lora.py FOLDER [FOLDER ...]

Of each folder (a model with lora/, an adapter of PEFT's): raison trains that adapter for a few steps and writes it; PEFT loads it and must
give the logits of `raison logits --adapter`, and so it must for a new adapter on all of the layers' matrices; transformers loads the folder
that `raison merge` writes and must give them too.
"""
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from common import BUILD, RAISON, raison_logits


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def train(folder, out, lora, vocab, rng):
    """The adapter that a few steps on random tokens make."""
    data = out.with_suffix(".jsonl")
    lines = [json.dumps({"tokens": rng.integers(0, vocab, 20).tolist()}) for _ in range(8)]
    data.write_text("\n".join(lines) + "\n")
    recipe = out.with_suffix(".toml")
    recipe.write_text(f"""kind = "sft"
steps = 3
[model]
path = "{folder}"
[lora]
{lora}
[data]
train = "{data}"
format = "tokens"
loss = "all"
[batch]
tokens = 64
[optimizer]
lr = 5e-3
""")
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run([RAISON, "train", "sft", str(recipe), "--out", str(out)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return out / "adapter"


def check(name, folder, adapter, tokens):
    base = load(folder)
    plain = logits_of(base, tokens)
    want = logits_of(PeftModel.from_pretrained(base, str(adapter)).eval(), tokens)
    got = raison_logits(folder, tokens, "--adapter", str(adapter))
    merged = BUILD / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    subprocess.run([RAISON, "merge", str(folder), str(adapter), str(merged), "--type", "F32"], check=True,
                   stdout=subprocess.DEVNULL)
    in_hf = logits_of(load(merged), tokens)
    print(f"{folder.name}, {name}: PEFT's logits differ by {np.abs(got - want).max():.2e} from raison's, "
          f"those of the merged folder by {np.abs(in_hf - want).max():.2e}; the base's by {np.abs(plain - want).max():.2e}")


def main():
    BUILD.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for argument in sys.argv[1:]:
        folder = pathlib.Path(argument).resolve()
        vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
        tokens = rng.integers(0, vocab, 64).tolist()
        out = BUILD / "lora"
        check("PEFT's adapter", folder, folder / "lora", tokens)
        check("trained further", folder, train(folder, out, f'adapter = "{folder / "lora"}"', vocab, rng), tokens)
        experts = '\ntarget_parameters = ["gate_up_proj", "down_proj"]' if (
            "n_routed_experts" in (folder / "config.json").read_text()) else ""
        check("new, all-linear", folder, train(folder, out, "r = 6\nalpha = 9\nrslora = true" + experts, vocab, rng), tokens)


if __name__ == "__main__":
    main()
