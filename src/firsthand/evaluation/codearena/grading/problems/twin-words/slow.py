import sys

words = sys.stdin.read().split()[1:]
for one in words:
    for other in words:
        if one < other and sorted(one) == sorted(other):
            print(one, other)
