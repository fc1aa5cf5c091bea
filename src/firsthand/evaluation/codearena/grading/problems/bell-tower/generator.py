import random

seed = int(input())
rng = random.Random(seed)
n = (4, 20, 60, 120, 180)[seed % 5]
t = (50, 1000, 5000, 9000, 12000)[seed % 5]
print(n, t)
print(*(rng.randrange(2, max(3, t // 4)) for _ in range(n)))
