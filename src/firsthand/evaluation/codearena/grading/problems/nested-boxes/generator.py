import random

seed = int(input())
rng = random.Random(seed)
n = (8, 60, 200, 350, 500)[seed % 5]
print(n)
for index in range(n):
    width = rng.randrange(1, 400)  # many of the same width
    print(width, max(1, width + rng.randrange(-40, 41)))
