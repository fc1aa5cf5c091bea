import sys

numbers = list(map(int, sys.stdin.read().split()))[1:]
ropes = list(zip(numbers[::2], numbers[1::2]))
crossings = 0
for one in range(len(ropes)):
    for other in range(one):
        if (ropes[one][0] < ropes[other][0]) != (ropes[one][1] < ropes[other][1]):
            crossings += 1
print(crossings)
