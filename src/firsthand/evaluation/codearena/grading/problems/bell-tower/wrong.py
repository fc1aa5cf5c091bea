n, t = map(int, input().split())
bells = [0] * (t + 1)
for period in map(int, input().split()):
    for minute in range(period, t + 1, period):
        bells[minute] += 1
print(sum(1 for ringing in bells if ringing))  # minutes with any bell
