"""Classes that `map_with_actors` names in tests."""

import os
import signal
import time

import numpy as np

from firsthand.errors import CheckError, InputError


class Numbers:
    """Numbers of a seeded matrix, and where they were made.

    With a folder, each call waits until two processes have come there, and one of them is killed, once.
    """

    made = 0

    def __init__(self, scale, folder=None):
        Numbers.made += 1
        self.scale, self.folder, self.calls = scale, folder, 0
        self.matrix = np.random.default_rng(0).normal(size=(200, 50))

    def __call__(self, item):
        from threadpoolctl import threadpool_info

        self.calls += 1
        if self.folder is not None:
            open(os.path.join(self.folder, f"process-{os.getpid()}"), "w").close()
            self.wait_for_another()
            died = os.path.join(self.folder, "died")
            if item["seed"] == 3 and not os.path.exists(died):
                open(died, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        x = self.matrix * item["seed"] * self.scale
        return {
            "number": {"seed": item["seed"], "sum": float((x @ x.T).sum())},
            "nothing": float("nan"),
            "process": os.getpid(),
            "made": Numbers.made,
            "calls": self.calls,
            "blas": sorted({library["num_threads"] for library in threadpool_info()}),
            "variable": os.environ["OMP_NUM_THREADS"],
        }

    def wait_for_another(self):
        deadline = time.monotonic() + 60
        while sum(name.startswith("process-") for name in os.listdir(self.folder)) < 2:
            if time.monotonic() > deadline:
                raise CheckError("no second process came")
            time.sleep(0.02)


class Mistaken:
    def __init__(self, when):
        if when == "made":
            raise InputError("wrong on purpose, when made")

    def __call__(self, item):
        if item["seed"] == 2:
            raise InputError("wrong on purpose, when called")
        return {}


class Failing:
    def __call__(self, item):
        class Own(Exception):
            """Cannot be pickled."""

        if item["seed"] == 1:
            raise Own("what happened")
        return {"ratio": 1 / item["seed"], "set": {1}}


class Dying:
    def __call__(self, item):
        with open(item["tries"], "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
