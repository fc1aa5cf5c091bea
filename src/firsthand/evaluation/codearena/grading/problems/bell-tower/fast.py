n, t = map(int, input().split())
bells = [0] * (t + 1)
for period in map(int, input().split()):
    for minute in range(period, t + 1, period):
        bells[minute] += 1
print(bells.count(1))
