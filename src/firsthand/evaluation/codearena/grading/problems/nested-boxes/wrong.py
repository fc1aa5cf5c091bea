import sys
from bisect import bisect_left

numbers = list(map(int, sys.stdin.read().split()))[1:]
boxes = sorted(zip(numbers[::2], numbers[1::2]))  # nests boxes of the same width
ends = []
for _, height in boxes:
    place = bisect_left(ends, height)
    ends[place : place + 1] = [height]
print(len(ends))
