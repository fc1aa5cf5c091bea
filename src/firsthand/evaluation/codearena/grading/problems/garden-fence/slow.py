import sys

heights = list(map(int, sys.stdin.read().split()))[1:]
best = 0
for first in range(len(heights)):
    lowest = heights[first]
    for last in range(first, len(heights)):
        if heights[last] < lowest:
            lowest = heights[last]
        if lowest * (last - first + 1) > best:
            best = lowest * (last - first + 1)
print(best)
