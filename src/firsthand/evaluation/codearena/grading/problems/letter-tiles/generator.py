import random

seed = int(input())
rng = random.Random(seed)
n = (15, 100, 500, 900, 1300)[seed % 5]
length = (3, 8, 20, 40, 60)[seed % 5]
letters = "aaaabbbccdefghijklmno"
print("".join(rng.choice(letters) for _ in range(n)))
print("".join(rng.choice(letters[:16]) for _ in range(length)))
