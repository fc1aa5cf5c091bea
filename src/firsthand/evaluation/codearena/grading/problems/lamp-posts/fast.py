street = input().strip()
best, start, run = 0, 0, 0
for position, lamp in enumerate(street, 1):
    run = run + 1 if lamp == "." else 0
    if run > best:
        best, start = run, position - run + 1
print(best, start)
