row, word = input().strip(), input().strip()
best = -1
for first in range(len(row)):
    needed = set(word)  # forgets letters that the word has twice
    for last in range(first, len(row)):
        needed.discard(row[last])
        if not needed:
            if best < 0 or last - first < best:
                best = last - first  # and is off by one
            break
print(best)
