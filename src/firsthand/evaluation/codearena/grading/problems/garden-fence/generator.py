import random

seed = int(input())
rng = random.Random(seed)
n = (9, 60, 250, 450, 650)[seed % 5]
if seed % 2:
    heights = [rng.randrange(0, 10001) for _ in range(n)]
else:  # rises slowly, so that a sign can be wide
    heights = [min(10000, 200 + 10 * index + rng.randrange(0, 60)) for index in range(n)]
print(n)
print(*heights)
