import random

seed = int(input())
rng = random.Random(seed)
n = (3, 6, 10, 14, 18)[seed % 5]
price = (30, 200, 900, 1600, 2500)[seed % 5]
values = rng.sample(range(1, max(20, price // 8)), n)
print(n, price)
for value in values:
    print(value, rng.randrange(1, 60))
