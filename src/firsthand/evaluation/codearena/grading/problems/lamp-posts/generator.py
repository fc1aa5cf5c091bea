import random

seed = int(input())
rng = random.Random(seed)
n = (12, 80, 400, 900, 1600)[seed % 5]
works = (0.5, 0.3, 0.02, 0.01, 0.002)[seed % 5]
street = "".join("#" if rng.random() < works else "." for _ in range(n))
if seed % 5 < 3:  # a second stretch, as long as the longest
    street += "#" + max(street.split("#"), key=len)
print(street)
