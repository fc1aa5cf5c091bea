import sys
from bisect import bisect_left

numbers = list(map(int, sys.stdin.read().split()))[1:]
# Of boxes of the same width the higher come first, so that none is put into another.
boxes = sorted(zip(numbers[::2], numbers[1::2]), key=lambda box: (box[0], -box[1]))
ends = []
for _, height in boxes:
    place = bisect_left(ends, height)
    ends[place : place + 1] = [height]
print(len(ends))
