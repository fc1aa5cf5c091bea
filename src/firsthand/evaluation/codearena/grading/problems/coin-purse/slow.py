import sys

numbers = list(map(int, sys.stdin.read().split()))
n, price = numbers[:2]
ways = [1] + [0] * price
for index in range(2, 2 + 2 * n, 2):
    value, count = numbers[index : index + 2]
    after = [0] * (price + 1)
    for total in range(price + 1):
        for coins in range(min(count, total // value) + 1):
            after[total] += ways[total - coins * value]
        after[total] %= 1000003
    ways = after
print(ways[price])
