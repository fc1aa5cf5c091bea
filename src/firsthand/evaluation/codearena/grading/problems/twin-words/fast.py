import sys
from itertools import combinations

groups = {}
for word in sorted(sys.stdin.read().split()[1:]):
    groups.setdefault("".join(sorted(word)), []).append(word)
for group in groups.values():
    for one, other in combinations(group, 2):
        print(one, other)
