"""A tokenizer of bytes and a decoder that plays a script, so that every answer is known beforehand."""

from __future__ import annotations

import threading

import httpx

from firsthand.errors import InputError
from firsthand.lm.decoding import ContextLengthError, GenerationResult
from firsthand.lm.decoding.stops import Ending, Stop

EOS = 256
HTTP = httpx.Client(verify=False)  # one for all tests: httpx.get reads all certificates again each time


class ByteTokenizer:
    """Token i is byte i; 256 is the end of a text."""

    eos_token_id = EOS
    chat_template = None

    def encode(self, text, **ignored):
        return list(text.encode())

    def decode(self, ids, skip_special_tokens=False):
        found = bytearray()
        for token in ids:
            if token < 256:
                found.append(token)
            elif not skip_special_tokens:
                found += b"<eos>"
        return found.decode(errors="replace")


class ChatTokenizer(ByteTokenizer):
    chat_template = "here"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        assert not tokenize
        assert add_generation_prompt
        from jinja2 import TemplateError

        if messages[-1]["role"] != "user":
            raise TemplateError("the last message must be the user's")
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + "[assistant]"


class Scripted:
    """Plays `script` (text, or token ids) `at_once` tokens a step, whatever the prompt is.

    With `gates`, a semaphore, each step waits for a release. `seen` lists what was asked for; `running` is
    the largest number of texts that were under way at once; `closed` counts texts that were ended early.
    """

    def __init__(self, script, at_once=3, gates=None, heeds_strings=True, context=1000, fails_after=None):
        self.script = list(script.encode()) if isinstance(script, str) else list(script)
        self.at_once, self.gates, self.heeds_strings = at_once, gates, heeds_strings
        self.context, self.fails_after = context, fails_after
        self.seen, self.running, self._now, self.steps = [], 0, 0, 0
        self.ended = threading.Event()

    def stream(self, prompt_ids, max_new_tokens, sampling=None, stop=None):
        if not prompt_ids:
            raise InputError("prompt is empty")
        if len(prompt_ids) + max_new_tokens > self.context:
            raise ContextLengthError(f"the toy reads at most {self.context}")
        self.seen.append((list(prompt_ids), max_new_tokens, sampling, stop))
        self._now += 1
        self.running = max(self.running, self._now)
        try:
            stop = stop or Stop()
            ending = Ending(stop if self.heeds_strings else Stop(stop.ids), max_new_tokens)
            tokens, steps = [], 0
            while not ending.reached:
                if self.gates is not None:
                    self.gates.acquire()
                if self.fails_after is not None and steps == self.fails_after:
                    raise RuntimeError("a secret of the decoder")
                step = ending.take(
                    [
                        self.script[i % len(self.script)]
                        for i in range(len(tokens), len(tokens) + self.at_once)
                    ]
                )
                tokens += step
                steps += 1
                self.steps += 1
                yield step
            return GenerationResult(
                tokens=tuple(tokens), stop_reason=ending.reason, prompt_tokens=len(prompt_ids), steps=steps,
                target_passes=steps, drafted=4 * steps, accepted=len(tokens) - steps, fell_back=False,
            )  # fmt: skip
        except GeneratorExit:
            self.ended.set()
            raise
        finally:
            self._now -= 1
