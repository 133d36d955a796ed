"""HF transformers' logits of model folders against `raison logits`, both in fp32."""
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from common import raison_logits


def main():
    rng = np.random.default_rng(5)
    for folder in sys.argv[1:]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        tokens = rng.integers(0, model.config.vocab_size, 96).tolist()
        with torch.no_grad():
            want = model(torch.tensor([tokens])).logits[0].numpy()
        got = raison_logits(folder, tokens, "--exact")
        print(f"{folder}: largest logit difference {np.abs(got - want).max():.2e} (logits' standard deviation {want.std():.2f})")


if __name__ == "__main__":
    main()
