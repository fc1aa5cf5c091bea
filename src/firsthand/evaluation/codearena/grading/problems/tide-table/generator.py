import random

seed = int(input())
rng = random.Random(seed)
n = (10, 70, 300, 600, 900)[seed % 5]
k = rng.randrange(1, n // 3 + 2)
level = 0.0
levels = []
for _ in range(n):
    level = max(-100.0, min(100.0, level + rng.randrange(-300, 301) / 100))
    levels.append(f"{level:.2f}")
print(n, k)
print(*levels)
