n, limit = map(int, input().split())
weights = sorted(map(int, input().split()))
light, heavy, lockers = 0, n - 1, 0
while light <= heavy:
    if light < heavy and weights[light] + weights[heavy] <= limit:
        light += 1
    heavy -= 1
    lockers += 1
print(lockers)
