import random

seed = int(input())
rng = random.Random(seed)
n = (8, 60, 300, 600, 900)[seed % 5]
limit = rng.randrange(20, 1000)
print(n, limit)
print(*(rng.randrange(1, limit + 1) for _ in range(n)))
