"""Slower than a room's 30 seconds (`make long`): 20 000 tokens on one core, killed on the way and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

TOKENS = 20_000
BUDGET = 256


@pytest.mark.long
def test_20_000_tokens_killed_and_resumed(tmp_path):
    from firsthand.decoding.tokenswift import TokenSwift, long_sampling, save_heads
    from firsthand.decoding.tokenswift.scales import SIZES
    from firsthand.decoding.tokenswift.world import make_world
    from firsthand.launch import single_thread

    size = SIZES["laptop"]
    with single_thread():
        world = make_world(size)
        swift = TokenSwift(world.model, world.heads, branching=(1, 2, 2, 1), kv_budget=BUDGET, adaptive=False)
        ids = world.text.tokenizer("def merge(left, right):\n    ")["input_ids"]
        whole = swift.generate(ids, TOKENS, long_sampling(penalty_window=64, seed=3), curve_every=1000)
    assert len(whole.tokens) == TOKENS
    # Re-selections happen every B - S tokens, nearly all of them where the text is longer than 4 B.
    beyond = [point for point in whole.curve if point.tokens > 4 * BUDGET]
    assert beyond[-1].selections - beyond[0].selections >= 20
    # Memory: B + 1 keys and values of 2 key heads of 32 numbers of 4 bytes, in one full-attention layer.
    config = world.model.model.config
    assert whole.partial_bytes == 2 * 4 * (BUDGET + 1) * config.num_key_value_heads * config.head_dim
    assert beyond[-1].reuse_share > 0
    assert all(0 < point.distinct_2 <= 1 and point.tokens_per_step >= 1 for point in whole.curve)

    # The same by the command, killed twice.
    world.model.model.save_pretrained(tmp_path / "model")
    world.text.tokenizer.save_pretrained(tmp_path / "model")
    save_heads(world.heads, tmp_path / "heads.safetensors", world.model)
    checkpoint = tmp_path / "run.ckpt"
    command = [
        sys.executable, "-m", "firsthand", "tokenswift", "generate", "--model", str(tmp_path / "model"),
        "--heads", str(tmp_path / "heads.safetensors"), "--prompt", "def merge(left, right):\n    ",
        "--max-new-tokens", str(TOKENS), "--penalty-window", "64", "--seed", "3", "--branching", "1,2,2,1",
        "--kv-budget", str(BUDGET), "--no-adaptive", "--ignore-eos", "--resume", str(checkpoint), "--device", "cpu",
        "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for wanted in (4_000, 11_000):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and _written(checkpoint) < wanted:
            time.sleep(0.2)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert found["resumed_at"] >= 11_000
    assert tuple(found["tokens"]) == whole.tokens


def _written(checkpoint):
    try:
        return len(json.loads(checkpoint.read_text())["tokens"])
    except FileNotFoundError:
        return 0
