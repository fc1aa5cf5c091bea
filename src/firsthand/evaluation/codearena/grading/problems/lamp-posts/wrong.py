street = input().strip()
best, start = 0, 0
for first in range(len(street)):
    length = 0
    while first + length < len(street) and street[first + length] == ".":
        length += 1
    if length >= best:  # the last of the longest, not the first
        best, start = length, first + 1
print(best, start)
