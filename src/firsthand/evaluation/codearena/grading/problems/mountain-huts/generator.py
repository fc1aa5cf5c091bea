import random

seed = int(input())
rng = random.Random(seed)
n = (6, 30, 80, 140, 200)[seed % 5]
paths = [(hut, max(1, hut - rng.randrange(1, 4)), rng.randrange(1, 1001)) for hut in range(2, n + 1)]
for _ in range(2 * n):
    one, other = rng.randrange(1, n + 1), rng.randrange(1, n + 1)
    if abs(one - other) <= 12:
        paths.append((one, other, rng.randrange(1, 1001)))
rng.shuffle(paths)
if seed % 5 == 1:  # nobody comes to the last hut
    paths = [path for path in paths if n not in path[:2]]
print(n, len(paths))
for path in paths:
    print(*path)
