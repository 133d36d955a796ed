"""raison and llama.cpp against raison's exact forward pass over the same files."""
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np

from common import BUILD, RAISON, ROOT, raison_logits, write_safetensors
from llama_cpp import LlamaCpp
from random_weights import tensors

SEQUENCES, LENGTH, VOCAB = 16, 256, 512
COMMON = {"vocab_size": VOCAB, "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4, "hidden_act": "silu",
          "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
GQA = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "rope_theta": 10000.0}
CONFIGS = {
    "llama": {**COMMON, **GQA, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "rms_norm_eps": 1e-5},
    "qwen2": {**COMMON, **GQA, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "qwen3": {**COMMON, **GQA, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 128},
    "deepseek2": {**COMMON, "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "rope_theta": 10000.0,
                  "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 256, "kv_lora_rank": 512,
                  "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 16,
                  "num_experts_per_tok": 4, "n_shared_experts": 1, "moe_intermediate_size": 256, "first_k_dense_replace": 1,
                  "n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
                  "scoring_func": "sigmoid", "topk_method": "noaux_tc"},
}


def make(name, tokenizer_from):
    c, rng = CONFIGS[name], np.random.default_rng(7)
    t = {key: rng.normal(mean, deviation, shape).astype(np.float32) for key, shape, mean, deviation in tensors(c)}
    folder = BUILD / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (tokenizer_from / file).exists():  # an end token that llama.cpp knows by its text, as real ones are
            (folder / file).write_text((tokenizer_from / file).read_text().replace("<|eos|>", "<|im_end|>"))
    (folder / "config.json").write_text(json.dumps(c, indent=1))
    write_safetensors(folder / "model.safetensors", t)
    return folder


def log_softmax(z):
    z = z.astype(np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def compare(name, kind, file, sequences):
    llama = LlamaCpp(BUILD / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64", file, LENGTH)
    kl = {"raison": [], "llama.cpp": []}
    top, delta, best = [], [], []
    for tokens in sequences:
        exact = log_softmax(raison_logits(file, tokens, "--exact"))
        ours, theirs = log_softmax(raison_logits(file, tokens)), log_softmax(llama.logits(tokens))
        for engine, logp in (("raison", ours), ("llama.cpp", theirs)):
            kl[engine].append((np.exp(exact) * (exact - logp)).sum(axis=-1))
        top.append(ours.argmax(-1) == theirs.argmax(-1))
        nexts = np.asarray(tokens[1:])
        rows = np.arange(len(nexts))
        delta.append(np.abs(ours[rows, nexts] - theirs[rows, nexts]))
    a, b = (np.concatenate(kl[k]).mean() for k in ("raison", "llama.cpp"))
    print(f"{name:10} {kind:7} positions {SEQUENCES * LENGTH}  KL(exact||raison) {a:.3e}  KL(exact||llama.cpp) {b:.3e}  "
          f"ratio {a / b:.3f}  top-1 equal {np.concatenate(top).mean():.4f}  |dlogprob| mean {np.concatenate(delta).mean():.2e} "
          f"median {np.median(np.concatenate(delta)):.2e}")
    for warning in llama.warnings:
        print("   llama.cpp says:", warning.strip())
    llama.close()


def main():
    shared = pathlib.Path(__import__("os").environ.get("RAISON_SHARED", ROOT.parent / "shared"))
    rng = np.random.default_rng(3)
    sequences = [rng.integers(8, VOCAB, LENGTH).tolist() for _ in range(SEQUENCES)]
    for name in sys.argv[1:] or CONFIGS:
        folder = make(name, shared / "goldens" / "qwen2")
        for kind in ("F32", "Q8_0", "Q4_K_M"):
            file = BUILD / "models" / f"{name}-{kind}.gguf"
            subprocess.run([RAISON, "quantize", str(folder), str(file), "--type", kind, "--force"], check=True,
                           stdout=subprocess.DEVNULL)
            compare(name, kind, file, sequences)


if __name__ == "__main__":
    main()
