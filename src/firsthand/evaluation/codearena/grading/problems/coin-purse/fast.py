import sys

numbers = list(map(int, sys.stdin.read().split()))
n, price = numbers[:2]
ways = [1] + [0] * price
for index in range(2, 2 + 2 * n, 2):
    value, count = numbers[index : index + 2]
    before = ways[:]
    beyond = value * (count + 1)
    for total in range(value, price + 1):
        ways[total] = (ways[total] + ways[total - value]) % 1000003
        if total >= beyond:
            ways[total] -= before[total - beyond]
print(ways[price] % 1000003)
