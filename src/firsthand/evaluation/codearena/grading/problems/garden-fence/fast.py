import sys

heights = list(map(int, sys.stdin.read().split()))[1:] + [0]
stack, best = [], 0
for index, height in enumerate(heights):
    start = index
    while stack and stack[-1][1] >= height:
        start, high = stack.pop()
        best = max(best, high * (index - start))
    stack.append((start, height))
print(best)
