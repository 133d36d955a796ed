"""One turn of PyTorch, of the prototype or of TRL: trains as teaching.py says and writes what each step took, as JSON."""
import argparse
import collections
import importlib.util
import json
import math
import pathlib
import random
import time

# The demonstration's settings, as the prototype names them: run.sh beside it.
SETTINGS = {"ps": 0.5, "gu": 0.65, "sys": 0.7, "tw": 6.0, "drill": 0.12, "maxlen": 240, "decay": 0.1, "b2": 0.99}
WORDS = 117  # of the vocabulary; the prototype has two more, which it never uses


def prototype(path, threads):
    """The prototype's module with the demonstration's settings and vocabulary."""
    spec = importlib.util.spec_from_file_location("mini", path)
    mini = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mini)
    import torch
    torch.set_num_threads(threads)  # the module asks for one
    mini.C.update(SETTINGS)
    mini.N0, mini.V, mini.SP = WORDS - 100, WORDS, mini.SP[:WORDS - 100]
    return mini


def relative_error(torch):
    """Of a product of matrices as it is set now: about 1e-6 in fp32, 1e-2 where operands are rounded to bf16."""
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(1024, 128, generator=g), torch.randn(128, 512, generator=g)
    exact = a.double() @ b.double()
    return float((a @ b - exact).norm() / exact.norm())


def use_fastest_products(torch):
    """PyTorch has two libraries for fp32 products, chosen by a setting named precision. Takes the faster one that is fp32."""
    a, b = torch.randn(1024, 128), torch.randn(128, 512)
    took = {}
    for name in ("highest", "medium"):
        torch.set_float32_matmul_precision(name)
        if relative_error(torch) > 1e-5:
            continue
        times = []
        for _ in range(200):
            begin = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - begin)
        took[name] = sorted(times)[len(times) // 2]
    best = min(took, key=took.get)
    torch.set_float32_matmul_precision(best)
    return best


# ---- base training: a plain model of the same shape ----------------------------------------------------------------------


def llama(torch, c, attention):
    """A Llama of configuration c for training: logits of [batch, length] tokens. attention: sdpa or plain."""
    from torch import nn
    from torch.nn import functional as F
    width, heads = c["hidden_size"], c["num_attention_heads"]
    size, inner, eps = width // heads, c["intermediate_size"], c["rms_norm_eps"]

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return F.rms_norm(x, (width,), self.weight, eps)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_in, self.norm_mlp = Norm(), Norm()
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.gate_up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

        def forward(self, x, cos, sin, mask):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.norm_in(x)).view(n, t, 3, heads, size).permute(2, 0, 3, 1, 4)

            def turned(y):
                a, b = y.chunk(2, -1)
                return y * cos + torch.cat([-b, a], -1) * sin

            q, k = turned(q), turned(k)
            if attention == "sdpa":
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = torch.baddbmm(mask, (q * size**-0.5).flatten(0, 1), k.flatten(0, 1).transpose(1, 2))
                y = torch.bmm(scores.softmax(-1), v.flatten(0, 1)).view(n, heads, t, size)
            x = x + self.out(y.transpose(1, 2).reshape(n, t, width))
            gate, up = self.gate_up(self.norm_mlp(x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(c["vocab_size"], width)
            self.layers, self.norm = nn.ModuleList(Layer() for _ in range(c["num_hidden_layers"])), Norm()
            longest = c["max_position_embeddings"]
            angle = torch.arange(longest)[:, None] * c["rope_theta"] ** (-torch.arange(0, size, 2) / size)[None]
            angle = torch.cat([angle, angle], -1)
            self.cos, self.sin = angle.cos(), angle.sin()
            self.mask = torch.full((longest, longest), -torch.inf).triu(1)
            nn.init.normal_(self.embed.weight, std=0.05)
            for layer in self.layers:
                for m in (layer.qkv, layer.out, layer.gate_up, layer.down):
                    nn.init.normal_(m.weight, std=m.weight.shape[1]**-0.5 * (0.05 if m in (layer.out, layer.down) else 1))

        def forward(self, tokens):
            t = tokens.shape[1]
            x = self.embed(tokens)
            for layer in self.layers:
                x = layer(x, self.cos[:t], self.sin[:t], self.mask[:t, :t])
            return F.linear(self.norm(x), self.embed.weight)

    return Model()


def padded_batches(torch, mini, count, budget=1024, draw=600):
    """Batches cut as raison cuts them: of `draw` sequences by length, as many as budget tokens hold, shuffled. Tokens, weights."""
    rng, out = random.Random(1), []
    while len(out) < count:
        groups = [[]]
        for s in sorted((mini.trace(rng) for _ in range(draw)), key=lambda s: len(s[0])):
            if groups[-1] and len(s[0]) * (len(groups[-1]) + 1) > budget:
                groups.append([])
            groups[-1].append(s)
        rng.shuffle(groups)
        for group in groups:
            longest = max(len(tokens) for tokens, _ in group)
            x = torch.zeros(len(group), longest, dtype=torch.long)
            w = torch.zeros(len(group), longest)
            for i, (tokens, prompt) in enumerate(group):
                x[i, :len(tokens)] = torch.tensor(tokens)
                w[i, max(prompt, 1):len(tokens)] = 1  # which weights the targets have changes no time
            out.append((x, w))
    return out[:count]


def base_turn(o):
    mini = prototype(o.prototype, o.threads)
    import torch
    precision = use_fastest_products(torch)
    c = json.loads((o.model / "config.json").read_text())
    batches = padded_batches(torch, mini, o.steps)
    trained = {}

    def trainer(attention):
        torch.manual_seed(1)
        model = llama(torch, c, attention)
        parameters = list(model.parameters())
        adam = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01, fused=True)

        def step(k, of):
            x, w = batches[k]
            adam.param_groups[0]["lr"] = 2e-3 * min(1, (k + 1) / 50) * (0.1 + 0.45 * (1 + math.cos(math.pi * k / of)))
            logits = model(x[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none")
            w = w[:, 1:].flatten()
            loss = (loss * w).sum() / w.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            adam.step()
            for p in parameters:
                p.grad = None
            return loss.item()

        return step

    def timed(step, count):
        rows = []
        for k in range(count):
            begin = time.perf_counter()
            loss = step(k, o.steps)
            rows.append({"seconds": time.perf_counter() - begin, "tokens": int((batches[k][0] > 0).sum()), "loss": loss})
        return rows

    for attention in ("plain", "sdpa"):
        trained[attention] = sorted(r["seconds"] / r["tokens"] for r in timed(trainer(attention), min(o.steps, 30)))
    attention = min(trained, key=lambda a: trained[a][len(trained[a]) // 2])
    lengths = [int(n) for x, _ in batches for n in (x > 0).sum(1)]
    return {"steps": timed(trainer(attention), o.steps), "version": torch.__version__, "how": f"{attention} attention, {precision}",
            "lengths": lengths}


# ---- a step of the prototype ---------------------------------------------------------------------------------------------


def load_into(torch, mini, folder):
    """raison's weights in the prototype's model."""
    from safetensors.torch import load_file
    w, m = load_file(folder / "model.safetensors"), mini.build()
    state = {"emb.weight": w["model.embed_tokens.weight"], "nf.w": w["model.norm.weight"]}
    for i in range(mini.C["L"]):
        def of(name):
            return w[f"model.layers.{i}.{name}.weight"]
        state |= {f"b.{i}.n1.w": of("input_layernorm"), f"b.{i}.n2.w": of("post_attention_layernorm"),
                  f"b.{i}.qkv.weight": torch.cat([of(f"self_attn.{x}_proj") for x in "qkv"]),
                  f"b.{i}.o.weight": of("self_attn.o_proj"), f"b.{i}.dn.weight": of("mlp.down_proj"),
                  f"b.{i}.gu.weight": torch.cat([of("mlp.gate_proj"), of("mlp.up_proj")])}
    missing = m.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"c", "sn"}, missing
    return m


def grpo_turn(o):
    mini = prototype(o.prototype, o.threads)
    import torch
    mini.C["rl"] = o.steps
    torch.manual_seed(1)
    model, steps = load_into(torch, mini, o.model), []
    drawn = collections.Counter()
    began = [time.perf_counter()]

    class Marked(mini.Opt):  # the optimiser's step ends the prototype's
        def step(self, f):
            out = super().step(f)
            end = time.perf_counter()
            steps.append({"seconds": end - began[0], "rollout_seconds": drawn["seconds"], "tokens": drawn["tokens"],
                          "length": drawn["tokens"] / (mini.C["P"] * mini.C["G"]), "right": drawn["right"]})
            drawn.clear()
            began[0] = end
            return out

    sample, reward = model.sample, mini.reward

    def timed_sample(*arguments, **named):
        begin = time.perf_counter()
        out = sample(*arguments, **named)
        drawn["seconds"] += time.perf_counter() - begin
        drawn["tokens"] += int((out[2] - out[3]).sum())
        return out

    def counted_reward(*arguments):
        r = reward(*arguments)
        drawn["right"] += r / (mini.C["P"] * mini.C["G"])
        return r

    mini.Opt, model.sample, mini.reward = Marked, timed_sample, counted_reward
    mini.grpo(model, random.Random(101))
    return {"steps": steps, "version": torch.__version__, "how": f"relative error of its products {relative_error(torch):.0e}"}


# ---- a step of TRL -------------------------------------------------------------------------------------------------------


def trl_turn(o):
    mini = prototype(o.prototype, o.threads)
    import tempfile

    import datasets
    import torch
    import transformers
    import trl
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    precision = use_fastest_products(torch)
    tokenizer = transformers.AutoTokenizer.from_pretrained(o.model)
    rng = random.Random(1)
    problems = [mini.rlprob(rng) for _ in range(32 * o.steps)]
    data = datasets.Dataset.from_list([{"prompt": tokenizer.decode(ids[1:]), "numbers": n, "target": t} for ids, n, t in problems])
    ids = tokenizer(data[0]["prompt"])["input_ids"]  # puts <bos> before
    assert ids == problems[0][0], (ids, problems[0][0])

    def right(completion_ids, numbers, target, **_):
        eos = tokenizer.eos_token_id
        return [mini.reward((None, n, t), r if r[-1] == eos else r + [eos]) if eos in r else 0.0
                for r, n, t in zip(completion_ids, numbers, target)]

    steps = []

    class Marks(transformers.TrainerCallback):
        begin = None

        def on_train_begin(self, *_, **__):
            Marks.begin = time.perf_counter()

        def on_step_end(self, *_, **__):
            end = time.perf_counter()
            steps.append({"seconds": end - Marks.begin})
            Marks.begin = end

        def on_log(self, arguments, state, control, logs=None, **_):
            if steps and "completions/mean_length" in logs:
                steps[-1] |= {"length": logs["completions/mean_length"], "tokens": 256 * logs["completions/mean_length"],
                              "right": logs["reward"]}

    # One forward and backward pass of all 256, or o.parts of as many each; TRL's defaults of bf16 and recomputed activations,
    # meant for large models, would be slower here.
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, max_steps=o.steps,
            per_device_train_batch_size=256 // o.parts, gradient_accumulation_steps=o.parts, num_generations=8,
            max_completion_length=230, temperature=1.0, top_k=0, top_p=1.0, beta=0.0, loss_type="dapo", learning_rate=1e-4,
            adam_beta2=0.99, max_grad_norm=1.0, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, seed=1)
        model = transformers.AutoModelForCausalLM.from_pretrained(o.model, dtype=torch.float32)
        trainer = trl.GRPOTrainer(model=model, reward_funcs=right, args=config, train_dataset=data, processing_class=tokenizer,
                                  callbacks=[Marks()])
        trainer.train()
    return {"steps": steps, "version": f"{trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}",
            "how": f"{o.parts} backward passes a step, {precision}"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["base", "grpo", "trl"])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--prototype", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    o = parser.parse_args()
    turn = {"base": base_turn, "grpo": grpo_turn, "trl": trl_turn}[o.what]
    o.json.write_text(json.dumps(turn(o)))


if __name__ == "__main__":
    main()
