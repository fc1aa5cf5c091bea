import sys

numbers = list(map(int, sys.stdin.read().split()))[1:]
ropes = sorted(zip(numbers[::2], numbers[1::2]))
crossings = 0
for (_, one), (_, other) in zip(ropes, ropes[1:]):  # only neighbours
    crossings += one > other
print(crossings)
