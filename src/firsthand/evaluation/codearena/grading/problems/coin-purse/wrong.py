import sys

numbers = list(map(int, sys.stdin.read().split()))
n, price = numbers[:2]
ways = [1] + [0] * price
for index in range(2, 2 + 2 * n, 2):
    value = numbers[index]  # as if there were coins without end
    for total in range(value, price + 1):
        ways[total] = (ways[total] + ways[total - value]) % 1000003
print(ways[price])
