"""Models of random weights in named shapes, as GGUF files in build/peers/models: bench/peers/run models NAME [NAME ...]"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "referee"))
from random_weights import tensors  # noqa: E402

BUILD = ROOT / "build" / "peers"
RAISON = os.environ.get("RAISON", str(ROOT / "build" / "release" / "raison"))

COMMON = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
          "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1}
QWEN2 = {**COMMON, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
DEEPSEEK = {**COMMON, "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "kv_lora_rank": 512,
            "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_shared_experts": 1, "first_k_dense_replace": 1,
            "norm_topk_prob": True, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc"}
SHAPES = {
    # R1-Distill-Qwen-1.5B's.
    "qwen2-1.5b": {**QWEN2, "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                   "num_attention_heads": 12, "num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072},
    # R1's made small: its latent attention as it is, fewer and smaller layers, heads and experts.
    "deepseek2-2b": {**DEEPSEEK, "vocab_size": 32768, "hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 13,
                     "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": 768, "n_routed_experts": 64,
                     "num_experts_per_tok": 6, "moe_intermediate_size": 512, "n_group": 8, "topk_group": 4,
                     "max_position_embeddings": 131072},
    # To try the scripts with; their speeds say nothing.
    "tiny": {**QWEN2, "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 16384},
    "tiny-deepseek2": {**DEEPSEEK, "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
                       "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 256, "n_routed_experts": 16,
                       "num_experts_per_tok": 4, "moe_intermediate_size": 256, "n_group": 4, "topk_group": 2,
                       "max_position_embeddings": 16384},
}
CHUNK = 1 << 22  # values drawn at once: what bounds the memory


def write_weights(path, c):
    """safetensors of bf16 (cut off: the values are random), written as they are drawn."""
    header, at, rng = {}, 0, np.random.default_rng(7)
    for name, shape, _, _ in tensors(c):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, shape, mean, deviation in tensors(c):
            left = int(np.prod(shape))
            while left > 0:
                n = min(left, CHUNK)
                values = rng.standard_normal(n, np.float32) * np.float32(deviation) + np.float32(mean)
                f.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
                left -= n


def write_tokenizer(folder, vocab):
    """Byte-level BPE of as many tokens as the model has rows, since llama.cpp refuses any other number. Most stand for nothing."""
    # GPT-2's alphabet: printable bytes as themselves, the others from U+0100 on.
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    special = ["<|bos|>", "<|im_end|>"]  # an end that llama.cpp knows by its text
    names = special + alphabet + ["ab"]
    names += [f"token{i}" for i in range(len(names), vocab)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None,
                 "added_tokens": [{"id": i, "content": s, **flags} for i, s in enumerate(special)],
                 "normalizer": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                 "post_processor": None,
                 "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                 "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                           "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                           "vocab": {s: i for i, s in enumerate(names)}, "merges": [["a", "b"]]}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": special[0], "eos_token": special[1],
                                                              "tokenizer_class": "PreTrainedTokenizerFast"}))


def make(name, kind="Q4_K_M", keep=False):
    """The GGUF file of a shape, made unless it is there in that very shape."""
    file = BUILD / "models" / f"{name}-{kind}.gguf"
    recipe = file.with_suffix(".json")
    config = json.dumps(SHAPES[name], indent=1)
    if file.exists() and recipe.exists() and recipe.read_text() == config:
        return file
    folder = BUILD / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    if not weights.exists() or not (folder / "config.json").exists() or (folder / "config.json").read_text() != config:
        print(f"{name}: drawing its weights", flush=True)
        write_weights(weights, SHAPES[name])
        write_tokenizer(folder, SHAPES[name]["vocab_size"])
        (folder / "config.json").write_text(config)  # last: with it the folder is whole
    print(f"{name}: {kind}", flush=True)
    subprocess.run([RAISON, "quantize", str(folder), str(file), "--type", kind, "--force"], check=True, stdout=subprocess.DEVNULL)
    recipe.write_text(config)
    if not keep:
        shutil.rmtree(folder)
    return file


def main():
    parser = argparse.ArgumentParser(description="Makes models of random weights in build/peers/models.")
    parser.add_argument("names", nargs="+", choices=list(SHAPES), metavar="NAME", help=", ".join(SHAPES))
    parser.add_argument("--type", default="Q4_K_M", help="type of the weights, as `raison quantize` names it (default: Q4_K_M)")
    parser.add_argument("--keep", action="store_true", help="keep the bf16 folder, to make other types of it")
    options = parser.parse_args()
    for name in options.names:
        print(make(name, options.type, options.keep))


if __name__ == "__main__":
    main()
