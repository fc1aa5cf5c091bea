n, t = map(int, input().split())
periods = list(map(int, input().split()))
alone = 0
for minute in range(1, t + 1):
    ringing = 0
    for period in periods:
        if minute % period == 0:
            ringing += 1
            if ringing > 1:
                break
    if ringing == 1:
        alone += 1
print(alone)
