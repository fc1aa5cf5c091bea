n, k = map(int, input().split())
levels = list(map(float, input().split()))
best = None
for first in range(n - k + 1):
    total = 0.0
    for index in range(first, first + k):
        total += levels[index]
    if best is None or total > best:
        best = total
print(best / k)
