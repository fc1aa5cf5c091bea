import random

seed = int(input())
rng = random.Random(seed)
n = (6, 30, 100, 180, 260)[seed % 5]
words = []
while len(words) < n:
    letters = [rng.choice("aeilnorst") for _ in range(rng.randrange(3, 6))]
    for _ in range(rng.randrange(1, 4)):
        rng.shuffle(letters)
        word = "".join(letters)
        if word not in words and len(words) < n:
            words.append(word)
words[0], words[1] = "tones", "stone"
rng.shuffle(words)
words = list(dict.fromkeys(words))
print(len(words))
print(*words, sep="\n")
