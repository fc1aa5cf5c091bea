import random

seed = int(input())
rng = random.Random(seed)
n = (7, 60, 200, 350, 500)[seed % 5]
left = rng.sample(range(1, 1000001), n)
right = rng.sample(range(1, 1000001), n)
print(n)
for pair in zip(left, right):
    print(*pair)
