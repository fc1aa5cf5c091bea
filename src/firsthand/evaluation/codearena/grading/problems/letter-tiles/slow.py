from collections import Counter

row, word = input().strip(), input().strip()
best = -1
for first in range(len(row)):
    lacking, missing = Counter(word), len(word)
    for last in range(first, len(row)):
        if lacking[row[last]] > 0:
            missing -= 1
        lacking[row[last]] -= 1
        if missing == 0:
            if best < 0 or last - first + 1 < best:
                best = last - first + 1
            break
print(best)
