import sys

heights = list(map(int, sys.stdin.read().split()))[1:]
best = 0
for first in range(len(heights)):  # a sign never reaches to the left of its lowest board
    last = first
    while last < len(heights) and heights[last] >= heights[first]:
        last += 1
    best = max(best, heights[first] * (last - first))
print(best)
