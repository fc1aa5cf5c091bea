n, limit = map(int, input().split())
weights = sorted(map(int, input().split()))
lockers, index = 0, 0
while index < n:  # pairs neighbours, light with light
    if index + 1 < n and weights[index] + weights[index + 1] <= limit:
        index += 1
    index += 1
    lockers += 1
print(lockers)
