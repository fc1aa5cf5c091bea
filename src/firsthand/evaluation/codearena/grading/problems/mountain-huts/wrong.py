import heapq
import sys

numbers = list(map(int, sys.stdin.read().split()))
n, m = numbers[:2]
paths = [[] for _ in range(n + 1)]
for index in range(2, 2 + 3 * m, 3):
    one, other, takes = numbers[index : index + 3]
    paths[one].append((other, takes))
    paths[other].append((one, takes))
reached = {}
waiting = [(0, 1)]
while waiting:
    time, hut = heapq.heappop(waiting)
    if hut not in reached:
        reached[hut] = time
        for other, takes in paths[hut]:
            heapq.heappush(waiting, (time + takes, other))  # without rests
print(reached.get(n, 0))
