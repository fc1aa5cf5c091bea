n, limit = map(int, input().split())
waiting = list(map(int, input().split()))
lockers = 0
while waiting:
    heaviest = waiting[0]
    for weight in waiting:
        if weight > heaviest:
            heaviest = weight
    waiting.remove(heaviest)
    partner = None
    for weight in waiting:
        if weight + heaviest <= limit and (partner is None or weight > partner):
            partner = weight
    if partner is not None:
        waiting.remove(partner)
    lockers += 1
print(lockers)
