"""Functions that jobs name in tests."""

import os
import signal
import time

import numpy as np

from firsthand.errors import CheckError, InputError


def numbers(seed, n=1000):
    x = np.random.default_rng(seed).normal(size=(n, 50))
    return {"seed": seed, "sum": float((x @ x.T).sum())}


def numbers_together(seed, folder=None):
    """Numbers, once two processes have come to `folder`; then the one with seed 1 is killed, once."""
    if folder is not None:
        open(os.path.join(folder, f"process-{os.getpid()}"), "w").close()
        deadline = time.monotonic() + 60
        while sum(name.startswith("process-") for name in os.listdir(folder)) < 2:
            if time.monotonic() > deadline:
                raise CheckError("no second process came")
            time.sleep(0.02)
        died = os.path.join(folder, "died")
        if seed == 1 and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    return numbers(seed)


def threads(seed):
    from threadpoolctl import threadpool_info

    return {
        "blas": sorted({p["num_threads"] for p in threadpool_info()}),
        "variable": os.environ["OMP_NUM_THREADS"],
    }


def fails_at_two(seed):
    return 1 / (seed - 2)


def users_mistake(seed):
    raise InputError("wrong on purpose")


def dies_once(seed, marker):
    if seed == 1 and not os.path.exists(marker):
        with open(marker, "w") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"seed": seed}


def always_dies(seed):
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(path):
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    time.sleep(100)
