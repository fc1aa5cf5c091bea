import sys

words = sys.stdin.read().split()[1:]
for one in words:
    for other in words:
        if one < other and set(one) == set(other):  # forgets how often a letter comes
            print(other, one)  # and turns the pair round
