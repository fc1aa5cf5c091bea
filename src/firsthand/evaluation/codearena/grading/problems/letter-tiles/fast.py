from collections import Counter

row, word = input().strip(), input().strip()
lacking, missing = Counter(word), len(word)
best, first = -1, 0
for last, letter in enumerate(row):
    missing -= lacking[letter] > 0
    lacking[letter] -= 1
    while missing == 0:
        if best < 0 or last - first + 1 < best:
            best = last - first + 1
        lacking[row[first]] += 1
        missing += lacking[row[first]] > 0
        first += 1
print(best)
