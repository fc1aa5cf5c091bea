n, k = map(int, input().split())
levels = list(map(float, input().split()))
total = sum(levels[:k])
best = total
for index in range(k, n):
    total += levels[index] - levels[index - k]
    best = max(best, total)
print(best / k)
