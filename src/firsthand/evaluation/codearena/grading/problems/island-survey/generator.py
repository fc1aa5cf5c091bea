import random

seed = int(input())
rng = random.Random(seed)
height = (5, 15, 25, 30, 36)[seed % 5]
width = height + rng.randrange(0, 6)
land = rng.uniform(0.35, 0.6)
print(height, width)
for _ in range(height):
    print("".join("#" if rng.random() < land else "." for _ in range(width)))
