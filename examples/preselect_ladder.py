"""No reference models at hand? Make a small ladder on your own files, then select with it.

    python examples/preselect_ladder.py CORPUS OUTPUT [--steps 400] [--with gemma-3-270m ...]
    firsthand preselect run OUTPUT/preselect.toml

Reads .txt and .jsonl files below CORPUS, holds some of them out as the benchmark ("what I want a model to
be good at": put your own there), trains three models of 0.3 M weights on different parts of the rest and
measures every model's ability by a cloze test on the held-out documents. Predictive strength wants models
that differ in what they have read, not only in how much: so each reads other files.
"""

import argparse
from pathlib import Path

import numpy as np

from firsthand.corpora.files import Layout, find_inputs, read_documents
from firsthand.data.preselect import cloze_items, cloze_log_probabilities, cloze_probability
from firsthand.lm import load, packed, tiny_llama, train, train_tokenizer

CONTEXT = 256


def main() -> None:
    """Train, measure, write the configuration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="training steps of each small model")
    parser.add_argument("--with", dest="others", action="append", default=[], help="a model you have; repeat")
    parser.add_argument("--items", type=int, default=100, help="cloze items")
    arguments = parser.parse_args()

    files = find_inputs([arguments.corpus])
    texts = [document.text for document in read_documents(files, Layout()) if len(document.text) >= 200]
    order = np.random.default_rng(0).permutation(len(texts))
    held_out = [texts[i] for i in order[: len(texts) // 5]]
    rest = [texts[i] for i in order[len(texts) // 5 :]]
    tokenizer = train_tokenizer(rest, 1024)
    items = cloze_items(held_out, arguments.items, tokenizer=tokenizer)
    lines = [f'inputs = ["{arguments.corpus}"]', f'output = "{arguments.output / "selected"}"']
    # Seed texts of 600 characters fit the small models' context, and a large model reads few of them.
    lines += [f"block = {CONTEXT}", f"stride = {CONTEXT // 2}", "max-chars = 600"]
    lines += [f"seed-docs = {max(50, len(texts) // 2)}", "min-per-class = 10"]
    names = []
    # Parts of unlike size, none inside another.
    for number, (start, stop) in enumerate(((0.0, 0.1), (0.1, 0.35), (0.35, 1.0))):
        part = rest[int(start * len(rest)) : int(stop * len(rest))]
        model = tiny_llama(len(tokenizer), width=96, layers=2, heads=3, seed=number, context=CONTEXT)
        train(model, packed(tokenizer, part), steps=arguments.steps, batch=2, context=CONTEXT, seed=number)
        folder = arguments.output / f"small-{number}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        names.append(str(folder))
    for name in [*names, *arguments.others]:
        model = load(name)
        windows = {"block": CONTEXT, "stride": CONTEXT // 2}
        ability = 100 * cloze_probability(cloze_log_probabilities(model, items, **windows))
        print(f"{name}: ability {ability:.2f}")
        lines += ["", "[[models]]", f'name = "{name}"', f"ability = {ability:.4f}"]
    (arguments.output / "preselect.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"now: firsthand preselect run {arguments.output / 'preselect.toml'}")


if __name__ == "__main__":
    main()
