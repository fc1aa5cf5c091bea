import sys
from bisect import bisect_right, insort

numbers = list(map(int, sys.stdin.read().split()))[1:]
passed, crossings = [], 0
for _, right in sorted(zip(numbers[::2], numbers[1::2])):
    crossings += len(passed) - bisect_right(passed, right)
    insort(passed, right)
print(crossings)
