import sys

numbers = list(map(int, sys.stdin.read().split()))
n, m = numbers[:2]
paths = [numbers[index : index + 3] for index in range(2, 2 + 3 * m, 3)]
never = 10**9
reached = [never] * (n + 1)
reached[1] = -15
for _ in range(n - 1):
    for one, other, takes in paths:
        for start, end in ((one, other), (other, one)):
            if reached[start] < never and reached[start] + 15 + takes < reached[end]:
                reached[end] = reached[start] + 15 + takes
print(reached[n] if reached[n] < never else -1)
